// A list of jobs with their state, progress and what can be done; it looks again while one is at work.

import { get, post } from "./api.js";
import { ago, copy, duration, make, number, spoken } from "./element.js";
import { refresh, tell } from "./shell.js";

export const WORDS = {
  waiting: ["◷", "Waiting"], running: ["▶", "Running"], done: ["✓", "Done"], failed: ["!", "Failed"], stopped: ["■", "Stopped"],
};
const EVERY_MS = 1500;
const UNITS = { generate: "images", round: "images", compare: "images", train: "steps" };
const GENERATING = ["generate", "round"];

// Return the state of a job as a symbol and a word.
export const stateOf = (job) => {
  const [symbol, word] = job.stopping ? ["■", "Stopping"] : WORDS[job.state];
  return make("span", { class: "state", "data-state": job.state }, make("span", { "aria-hidden": "true" }, symbol), ` ${word}`);
};

export const isActive = (job) => job.state === "waiting" || job.state === "running";

// Ask for something to be done with a job; the answer replaces it in the list.
export const change = async (job, what) => {
  try {
    return await post(`jobs/${job.id}/${what}`);
  } catch (error) {
    tell(error.message);
    return job;
  }
};

// Ask for something of a job, and return whether it was heard.
export const asked = async (job, what) => {
  try {
    await post(`jobs/${job.id}/${what}`);
    return true;
  } catch (error) {
    tell(error.message);
    return false;
  }
};

// Return the buttons of a job. isNext: whether to resume it is the next thing to do.
export const actionsOf = (job, changed, isNext = false) => {
  const act = (what) => async () => changed(await change(job, what));
  const buttons = [];
  if (isActive(job)) buttons.push(make("button", { class: "small", type: "button", disabled: job.stopping, on: { click: act("stop") } }, "Stop"));
  if (job.state === "stopped" || job.state === "failed") buttons.push(make("button", { class: isNext ? "small main" : "small", type: "button", on: { click: act("resume") } }, "Resume"));
  const command = make("button", { class: "small", type: "button" }, "Copy as command");
  command.addEventListener("click", () => copy(job.command, command));
  return make("span", { class: "actions" }, ...buttons, command);
};

// Return the seconds of an image at a generation's pace, with the time to load the model; null while it has none.
export const paceOf = (job) => {
  if (!job.started_at || !job.done) return null;
  return ((job.ended_at ? new Date(job.ended_at) : Date.now()) - new Date(job.started_at)) / 1000 / job.done;
};

// Return a bar of what is done, or null where nobody knows.
export const barOf = (done, total, unit, label) => {
  if (done === null || !total) return null;
  return make("div", { class: "done" },
    make("progress", { max: total, value: done, "aria-label": label }),
    make("span", { class: "quiet" }, `${number(done)} of ${number(total)} ${unit}`));
};

export class JobList {
  constructor(place, kind, { link = () => null, empty = "", drawn = () => {}, wanted = () => true, most = Infinity, title = (job) => job.name } = {}) {
    Object.assign(this, { place, kind, link, empty, drawn, wanted, most, title, jobs: [], timer: null, shown: "", thumbs: new Map() });
    document.addEventListener("visibilitychange", () => { if (!document.hidden) this.look(); });
  }

  async look() {
    clearTimeout(this.timer);
    try {
      this.draw((await get(`jobs?kind=${this.kind}`)).filter(this.wanted).slice(0, this.most));
    } catch (error) {
      if (error.status) this.place.replaceChildren(make("p", { class: "quiet" }, ...spoken(error.message)));
    }
    if (!document.hidden && this.jobs.some(isActive)) this.timer = setTimeout(() => this.look(), EVERY_MS);
  }

  draw(jobs) {
    const shown = JSON.stringify(jobs);
    if (shown === this.shown) return; // so that a button keeps its focus
    if (this.jobs.some((job) => isActive(job) && jobs.some((now) => now.id === job.id && now.done !== job.done))) refresh();
    Object.assign(this, { jobs, shown });
    this.drawn(jobs);
    const focused = document.activeElement?.closest?.("[data-job]")?.dataset.job;
    this.place.replaceChildren(...(jobs.length ? jobs.map((job) => this.#card(job)) : this.empty ? [make("p", { class: "quiet" }, this.empty)] : []));
    if (focused) this.place.querySelector(`[data-job="${focused}"] button`)?.focus();
  }

  #card(job) {
    const changed = () => this.look();
    const took = job.started_at && job.ended_at ? `, took ${duration((new Date(job.ended_at) - new Date(job.started_at)) / 1000)}` : "";
    return make("article", { class: "card job", "data-job": String(job.id), "aria-label": `${job.kind} ${job.name}` },
      make("div", { class: "row" }, make("strong", {}, this.title(job)), stateOf(job),
        make("span", { class: "quiet" }, `${ago(job.ended_at ?? job.started_at ?? job.created_at)}${took}`)),
      job.about ? make("p", { class: "quiet sentence" }, job.about) : null,
      barOf(job.done, job.total, UNITS[job.kind] ?? "", `Progress of ${job.name}`),
      GENERATING.includes(job.kind) && job.state === "running" && paceOf(job) ? make("p", { class: "quiet" }, `about ${duration(paceOf(job) * (job.total - job.done))} left`) : null,
      job.sentence || job.doing ? make("p", { class: "sentence" }, ...spoken(job.sentence ?? job.doing)) : null,
      this.#thumbs(job),
      make("div", { class: "row" }, this.link(job), actionsOf(job, changed)));
  }

  // Return the newest images of a generation; they are asked for when there are more of them.
  #thumbs(job) {
    if (!job.done || !GENERATING.includes(job.kind)) return null;
    const kept = this.thumbs.get(job.id) ?? { done: 0, place: make("div", { class: "thumbs" }) };
    this.thumbs.set(job.id, kept);
    if (kept.done !== job.done) {
      kept.done = job.done;
      get(`jobs/${job.id}/images`).then((images) => kept.place.replaceChildren(...images.map((image) =>
        make("img", { src: image.thumb, alt: image.prompt, title: image.prompt, loading: "lazy", width: "96", height: "96" })))).catch(() => { kept.done = 0; });
    }
    return kept.place;
  }
}
