"use strict";
(() => {
  const test = JSON.parse(document.getElementById("test").textContent);
  const last = test.trials.length;
  const at = (id) => document.getElementById(id);
  const storageKey = `thumbtune-human-${test.study}`;
  const MIN_ANSWER_MS = 250; // the second click of a double click does not answer the next pair

  const fresh = () => ({ rater: "", started: null, finished: null, answers: {} });
  let state = fresh();
  let trial = 0; // index of the shown trial
  let showings = 0; // images that load for an earlier showing are ignored
  let since = null; // time when the pair became visible; null while it is hidden
  let spent = 0; // ms that the pair was visible before

  // Storage may be denied; then a closed page starts again.
  const load = () => {
    try {
      const stored = JSON.parse(localStorage.getItem(storageKey));
      if (stored && typeof stored.answers === "object" && stored.answers) state = { ...fresh(), ...stored };
    } catch { /* no storage */ }
  };
  const save = () => {
    try { localStorage.setItem(storageKey, JSON.stringify(state)); } catch { /* no storage */ }
  };
  const clear = () => {
    try { localStorage.removeItem(storageKey); } catch { /* no storage */ }
  };

  const stage = (name) => {
    for (const id of ["start", "trial", "end"]) at(id).hidden = id !== name;
    window.scrollTo(0, 0);
  };
  const answered = () => test.trials.filter((one) => state.answers[one.id]).length;
  const random = () => {
    const bytes = crypto.getRandomValues(new Uint8Array(4));
    return `rater-${Array.from(bytes, (byte) => byte.toString(16).padStart(2, "0")).join("")}`;
  };

  const start = () => {
    const done = answered();
    at("rater").value = state.rater;
    at("begin").textContent = done ? "Continue" : "Begin";
    at("resumed").textContent = done ? `You have answered ${done} of ${last}.` : "";
    stage("start");
  };

  const show = async (number) => {
    const showing = ++showings;
    trial = number;
    since = null;
    spent = 0;
    const one = test.trials[trial];
    at("choices").classList.add("waiting");
    at("count").textContent = `${trial + 1} of ${last}`;
    at("bar").value = trial;
    at("words").textContent = one.words;
    at("words").scrollTop = 0;
    at("back").disabled = trial === 0;
    const chosen = state.answers[one.id]?.choice;
    for (const id of ["left", "right", "tie"]) at(id).setAttribute("aria-pressed", String(chosen === id));
    stage("trial");
    at("words").focus({ preventScroll: true }); // so that space means "no preference" and does not press the last button
    const images = ["left", "right"].map((side) => at(side).querySelector("img"));
    images[0].src = one.left;
    images[1].src = one.right;
    await Promise.allSettled(images.map((image) => image.decode())); // both appear at once
    if (showing !== showings) return;
    const largest = Math.max(...images.map((image) => Math.max(image.naturalWidth, image.naturalHeight)));
    document.documentElement.style.setProperty("--most", `${4 * largest}px`); // small images are enlarged at most 4 times
    at("choices").classList.remove("waiting");
    since = performance.now();
  };

  const choose = (choice) => {
    if (since === null || performance.now() - since + spent < MIN_ANSWER_MS) return;
    const id = test.trials[trial].id;
    const before = state.answers[id]?.seconds ?? 0; // add the time of an earlier visit
    const seconds = before + (spent + performance.now() - since) / 1000;
    state.answers[id] = { choice, seconds: Math.round(seconds * 100) / 100 };
    state.finished = answered() === last ? new Date().toISOString() : null; // of two equally long files of a sitting, the later one counts
    save();
    if (trial + 1 < last) show(trial + 1);
    else end();
  };

  const back = () => {
    if (!at("trial").hidden && trial > 0) show(trial - 1);
  };

  const answers = () => JSON.stringify({
    form: test.form,
    study: test.study,
    rater: state.rater,
    started: state.started,
    finished: state.finished,
    answers: test.trials.filter((one) => state.answers[one.id]).map((one) => ({ id: one.id, ...state.answers[one.id] })),
  }, null, 1);

  const end = () => {
    ++showings;
    since = null;
    const done = answered();
    at("thanks").textContent = done === last ? "Thank you. That was the last one." : `Thank you. You answered ${done} of ${last}.`;
    at("json").value = answers();
    for (const id of ["download", "copy"]) at(id).disabled = done === 0;
    at("status").textContent = "";
    stage("end");
    at("thanks").focus({ preventScroll: true });
  };

  const download = () => {
    const name = state.rater.normalize("NFKD").replace(/[\u0300-\u036f]/g, "").replace(/[^A-Za-z0-9]+/g, "-").replace(/^-+|-+$/g, "").slice(0, 40) || "rater";
    const link = document.createElement("a");
    const address = URL.createObjectURL(new Blob([answers()], { type: "application/json" }));
    link.href = address;
    link.download = `answers-${test.study.slice(0, 8)}-${name}.json`;
    document.body.append(link);
    link.click();
    link.remove();
    setTimeout(() => URL.revokeObjectURL(address), 60000);
    at("status").textContent = `Saved as ${link.download} in the downloads of this browser.`;
  };

  const copy = async () => {
    at("json").select();
    let copied = false;
    try {
      await navigator.clipboard.writeText(at("json").value);
      copied = true;
    } catch {
      try { copied = document.execCommand("copy"); } catch { /* the text is selected for copying by hand */ }
    }
    at("status").textContent = copied ? "Copied." : "The text is selected; copy it now.";
  };

  at("who").addEventListener("submit", (event) => {
    event.preventDefault();
    state.rater = at("rater").value.trim() || state.rater || random();
    state.started ??= new Date().toISOString();
    save();
    const open = test.trials.findIndex((one) => !state.answers[one.id]);
    if (open < 0) end();
    else show(open);
  });
  for (const choice of ["left", "right", "tie"]) at(choice).addEventListener("click", () => choose(choice));
  at("back").addEventListener("click", back);
  at("stop").addEventListener("click", end);
  at("again").addEventListener("click", () => show(trial));
  at("download").addEventListener("click", download);
  at("copy").addEventListener("click", copy);
  at("next").addEventListener("click", () => {
    if (!window.confirm("Did you download or copy these answers? This deletes them here.")) return;
    clear();
    state = fresh();
    start();
  });

  document.addEventListener("keydown", (event) => {
    if (at("trial").hidden || event.repeat || event.ctrlKey || event.metaKey || event.altKey) return;
    const onButton = event.target instanceof HTMLButtonElement; // space presses the focused button
    const choice = { ArrowLeft: "left", ArrowRight: "right", ArrowDown: "tie", " ": onButton ? null : "tie" }[event.key];
    if (choice) choose(choice);
    else if (event.key === "Backspace") back();
    else return;
    event.preventDefault();
  });
  document.addEventListener("visibilitychange", () => {
    if (since === null) return;
    if (document.hidden) spent += performance.now() - since;
    since = performance.now();
  });

  load();
  start();
})();
