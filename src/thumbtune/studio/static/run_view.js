// One run: its state, live plots, samples, the guards' sentences and the end of its log.

import { get, post } from "./api.js";
import { duration, make, number, say, spoken } from "./element.js";
import { JobList, actionsOf, asked, barOf, isActive, stateOf } from "./job_list.js";
import { column, plot } from "./plot.js";
import { setSubject, tell } from "./shell.js";

const at = (id) => document.getElementById(id);
const LINES = 400; // of the log
const NOTE = "thumbtune: Note: ";
const RECENT = 20; // steps whose seconds tell how long the others take

export class RunView {
  constructor(changed, next) {
    Object.assign(this, { changed, next, name: null, source: null, due: false, evaluating: false });
    this.evaluations = new JobList(at("run-evaluations"), "evaluate", {
      most: 1, // the newest
      title: () => "Evaluation",
      wanted: (job) => job.name === this.name,
      drawn: (jobs) => {
        const was = this.evaluating;
        this.evaluating = jobs.some(isActive);
        if (was && !this.evaluating) this.#look(); // for its verdict
        if (was !== this.evaluating) this.#later();
      },
    });
    new ResizeObserver(() => this.#later()).observe(at("plots"));
    document.addEventListener("visibilitychange", () => { // a browser has six lines to one host, for all its tabs
      if (document.hidden) this.source?.close();
      else if (this.name && this.job && isActive(this.job)) this.open(this.name, this.job, Boolean(this.run));
    });
  }

  // Show a run; `job` is the newest one that writes it, if the studio has one, and `isBegun` whether it has a folder.
  async open(name, job, isBegun) {
    this.close();
    Object.assign(this, { name, job, rows: new Map(), log: [], samples: [], prompts: [], run: null, key: null });
    at("run-name").textContent = name;
    setSubject(name);
    for (const id of ["log", "run-state", "run-actions", "run-bar"]) at(id).replaceChildren(); // those of another run
    if (job) this.#watch(job);
    this.evaluations.look();
    if (isBegun) await this.#look();
    this.#later();
  }

  close() {
    this.source?.close();
    Object.assign(this, { source: null, name: null });
    this.next.hide();
    setSubject("");
  }

  async #look() {
    const name = this.name;
    try {
      const run = await get(`runs/${encodeURIComponent(name)}`);
      if (name !== this.name) return;
      Object.assign(this, { run, samples: run.samples, prompts: run.prompts });
      if (!this.source) for (const row of run.rows) this.rows.set(row.step, row);
    } catch (error) {
      if (!error.status) tell("The studio cannot be reached.");
    }
    this.#later();
  }

  #watch(job) {
    const source = this.source = new EventSource(`/api/v1/jobs/${job.id}/events`);
    const hear = (event, act) => source.addEventListener(event, (told) => { act(JSON.parse(told.data)); this.#later(); });
    this.rows.clear();
    hear("state", (now) => { this.job = now; this.changed(now); });
    hear("reset", () => this.rows.clear());
    hear("steps", (rows) => {
      for (const row of rows) this.rows.set(row.step, row);
      if (!this.run) this.#look(); // its notes, which are there since it began
    });
    hear("samples", () => this.#look());
    hear("log", (lines) => { this.log = [...this.log, ...lines].slice(-LINES); });
    hear("end", () => { source.close(); if (this.rows.size) this.#look(); });
  }

  #later() { // many events, one drawing
    if (this.due || !this.name) return;
    this.due = true;
    requestAnimationFrame(() => { this.due = false; if (this.name) this.#draw(); });
  }

  #draw() {
    const rows = [...this.rows.values()].sort((one, other) => one.step - other.step);
    const steps = this.run?.steps ?? this.job?.total ?? null;
    this.#head(rows, steps);
    this.#plots(rows, steps);
    this.#samples();
    const notes = [...new Set([...(this.run?.notes ?? []), ...this.log.filter((line) => line.startsWith(NOTE)).map((line) => line.slice(NOTE.length))])];
    at("notes").replaceChildren(...notes.map((note) => make("li", {}, ...spoken(note))));
    at("notes-box").hidden = !notes.length;
    const log = at("log"), follows = log.scrollTop + log.clientHeight >= log.scrollHeight - 8;
    log.textContent = this.log.join("\n");
    if (follows) log.scrollTop = log.scrollHeight;
    at("log-box").hidden = !this.log.length;
  }

  #head(rows, steps) {
    const { job, run } = this, step = rows.at(-1)?.step ?? 0;
    const state = job ? stateOf(job) : make("span", { class: "state", "data-state": run?.finished ? "done" : "stopped" }, run?.finished ? "✓ Done" : "■ Not finished");
    at("run-state").replaceChildren(state);
    const key = JSON.stringify([job?.state, job?.stopping, run?.finished, run?.verdict, this.evaluating, run?.reported, Boolean(run?.step), Boolean(rows.length)]);
    if (key !== this.key) { // so that a button keeps its focus
      this.key = key;
      at("run-actions").replaceChildren(...this.#actions(rows.length > 0));
    }
    at("run-bar").replaceChildren(...[barOf(step, steps, "steps", `Progress of ${this.name}`)].filter(Boolean));
    const recent = rows.slice(-RECENT), each = recent.reduce((sum, row) => sum + (row.seconds ?? 0), 0) / (recent.length || 1);
    const isLive = job?.state === "running";
    at("run-left").textContent = isLive && steps && step ? `about ${duration(each * (steps - step))} left, ${each < 1 ? `${number(Math.round(10 / each) / 10)} steps a second` : `${each.toFixed(1)} s a step`}`
      : isLive ? job.doing ?? "Preparing: it loads the model and encodes the images" : "";
    const sentence = run?.stopped ?? (job?.state === "waiting" ? "It waits for the job before it." : job?.sentence) ?? "";
    say(at("run-sentence"), sentence);
    at("run-sentence").dataset.bad = String(Boolean(run?.stopped) || job?.state === "failed");
    say(at("run-verdict"), run?.verdict ?? "");
  }

  // begun: whether it has taken a step; before, nobody hears that something is asked
  #actions(begun) {
    const { job, run, name } = this;
    const begin = (what) => async () => {
      try {
        const begun = await post(`jobs/${what}`, { name });
        this.changed(begun);
        if (begun.kind === "train") this.open(name, begun, true);
        else this.evaluations.look();
      } catch (error) {
        tell(error.message);
      }
    };
    const changed = (now) => { this.changed(now); if (now.state !== job.state) this.open(name, now, Boolean(run)); };
    // one of them is the next thing to do: resume, evaluate, then compare; none while the run or its evaluation works
    const works = (job && isActive(job)) || this.evaluating;
    const next = works ? "" : !run?.finished ? "resume" : run.verdict ? "compare" : "evaluate";
    const look = (what) => (what === next ? "small main" : "small");
    const button = (what, words, act, disabled = false) => make("button", { class: look(what), type: "button", disabled, on: { click: act } }, words);
    const link = (what, words, href, more = {}) => make("a", { class: `button ${look(what)}`, href, ...more }, words);
    const here = encodeURIComponent(name), isFinished = run?.finished && !(job && isActive(job));
    const buttons = [];
    if (isFinished) {
      if (run.verdict) buttons.push(link("compare", "Compare with the base", `/compare?run=${here}`));
      buttons.push(button("evaluate", this.evaluating ? "Evaluating" : run.verdict ? "Evaluate again" : "Evaluate", begin("evaluate"), this.evaluating));
    }
    if (run && (run.finished || run.step)) buttons.push(link("grid", "Compare checkpoints", `/compare?run=${here}#grid`));
    if (isFinished) {
      buttons.push(link("generate", "Generate with it", `/generate?run=${here}`), button("round", "Next round", () => this.next.toggle(name)),
        link("export", "Export", `/export?run=${here}`));
    }
    if (run?.reported) buttons.push(link("report", "Report", `/api/v1/runs/${here}/report`, { download: "" }));
    if (!job && run && !run.finished) buttons.unshift(button("resume", "Resume", begin("resume")));
    if (job) buttons[isFinished ? "push" : "unshift"](actionsOf(job, changed, next === "resume"));
    if (job?.state === "running" && !job.stopping) {
      for (const [what, words] of [["save", "Save a checkpoint"], ["sample", "Sample now"]]) {
        buttons.push(button(what, words, async () => { if (await asked(job, what)) tell(`${words}: asked; it happens after the next step.`); }, !begun));
      }
    }
    return buttons;
  }

  #plots(rows, steps) {
    const last = steps ?? rows.at(-1)?.step ?? 1;
    const place = at("plots"), one = Math.max(260, place.clientWidth);
    const width = one >= 640 ? Math.floor((one - 20) / 2) : one;
    const line = (name, key, kind = "plain", smooth = true) => ({ name, points: column(rows, key), kind, smooth });
    const figures = [
      { title: "Implicit reward", unit: "log-ratio: error of the reference minus that of the policy", lines: [line("liked", "liked_log_ratio", "liked"), line("disliked", "disliked_log_ratio", "disliked")], mark: { value: 0, name: "base" } },
      rows.some((row) => Number.isFinite(row.held_out_liked))
        ? { title: "Held-out likes", unit: "share of the base's error that is gone", lines: [line("better than the base", "held_out_liked", "plain", false)], mark: { value: 0, name: "base" } }
        : { title: "Held-out agreement", unit: "share of pairs of a like and a dislike in the right order", none: "No validation yet", lines: [line("agreement", "agreement", "plain", false)], mark: { value: 0.5, name: "chance" } },
      { title: "Loss", unit: "mean over the images of a step", lines: [line("loss", "loss")] },
      { title: "Reference point", unit: "log-ratio that is neither gain nor loss", lines: [line("reference point", "reference_point")] },
      { title: "Saturation", unit: "share of images that teach almost nothing", lines: [line("saturation", "saturation")] },
    ];
    if (!rows.length) { // while it prepares: one sentence, and no empty frames
      const comes = this.job && isActive(this.job) ? "Its numbers come with the first step." : "It took no step.";
      return place.replaceChildren(make("p", { class: "quiet" }, comes));
    }
    return place.replaceChildren(...figures.map((figure) => plot({ ...figure, width, last })));
  }

  #samples() {
    const key = JSON.stringify([this.samples, this.prompts]);
    if (key === at("samples").dataset.shown) return;
    at("samples").dataset.shown = key;
    at("samples-box").hidden = !this.samples.length;
    const head = make("tr", {}, make("th", { scope: "col" }, "Prompt"), ...this.samples.map(({ step }) => make("th", { scope: "col" }, step ? `Step ${number(step)}` : "Base")));
    const rows = this.prompts.map((prompt, place) => make("tr", {}, make("th", { scope: "row" }, prompt),
      ...this.samples.map(({ step, files }) => make("td", {}, files.includes(place)
        ? make("img", { src: `/api/v1/runs/${encodeURIComponent(this.name)}/samples/${step}/${place}`, alt: `${prompt}, ${step ? `step ${step}` : "base"}`, width: "128", height: "128", loading: "lazy" })
        : null))));
    at("samples").replaceChildren(make("thead", {}, head), make("tbody", {}, ...rows));
  }
}
