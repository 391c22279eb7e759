// Train: a form for a new run, the list of runs, and one run with its numbers as they come.

import { get } from "./api.js";
import { ago, make, spoken } from "./element.js";
import { actionsOf, barOf, isActive, stateOf } from "./job_list.js";
import { tell } from "./shell.js";
import { RunView } from "./run_view.js";
import { NextRound } from "./next_round.js";
import { TrainForm } from "./train_form.js";

const at = (id) => document.getElementById(id);
const EVERY_MS = 2000;
let jobs = [];
let runs = [];
let timer = null;

const chosen = () => decodeURIComponent(location.hash.match(/^#run=(.+)$/)?.[1] ?? "");
const jobOf = (name) => jobs.find((job) => job.kind === "train" && job.name === name) ?? null;

const look = async () => {
  clearTimeout(timer);
  try {
    [jobs, runs] = await Promise.all([get("jobs"), get("runs")]);
    draw();
  } catch (error) {
    if (error.status) at("runs").replaceChildren(make("p", { class: "quiet" }, ...spoken(error.message)));
  }
  if (!document.hidden && !chosen()) timer = setTimeout(look, jobs.some(isActive) ? EVERY_MS : 5 * EVERY_MS);
};

const view = new RunView(() => look(), new NextRound((training) => {
  location.hash = "";
  form.fillIn(training);
}));
const form = new TrainForm((job) => {
  jobs = [job, ...jobs];
  location.hash = `run=${encodeURIComponent(job.name)}`;
});

// Return the runs and the jobs whose runs have not begun, newest first.
const entries = () => {
  const begun = new Set(runs.map((run) => run.name));
  const waiting = jobs.filter((job) => job.kind === "train" && !begun.has(job.name));
  const only = waiting.filter((job) => jobOf(job.name) === job).map((job) => ({ name: job.name, step: 0, steps: job.total, finished: false, stopped: null, at: job.created_at }));
  return [...only, ...runs.map((run) => ({ ...run, at: run.changed_at * 1000 }))];
};

let shown = "";
const draw = () => {
  const all = entries(), others = jobs.filter((job) => job.kind === "evaluate");
  const now = JSON.stringify([all, jobs]);
  if (now === shown) return;
  shown = now;
  at("runs").replaceChildren(...(all.length ? all.map(card) : [make("p", { class: "quiet" }, "There is no run yet.")]));
  at("evaluations").replaceChildren(...others.map((job) => make("article", { class: "card job" },
    make("div", { class: "row" }, make("strong", {}, job.name), stateOf(job), make("span", { class: "quiet" }, ago(job.created_at))),
    job.sentence ? make("p", { class: "sentence" }, ...spoken(job.sentence)) : null, make("div", { class: "row" }, actionsOf(job, look)))));
  at("evaluations-box").hidden = !others.length;
};

const card = (run) => {
  const job = jobOf(run.name);
  const state = job ? stateOf(job) : make("span", { class: "state", "data-state": run.finished ? "done" : "stopped" }, run.finished ? "✓ Done" : "■ Not finished");
  const sentence = run.stopped ?? job?.sentence;
  return make("article", { class: "card job" },
    make("div", { class: "row" }, make("a", { href: `#run=${encodeURIComponent(run.name)}` }, make("strong", {}, run.name)), state,
      make("span", { class: "quiet" }, ago(run.at))),
    run.finished ? null : barOf(run.step, run.steps, "steps", `Progress of ${run.name}`),
    sentence ? make("p", { class: "sentence" }, ...spoken(sentence)) : null);
};

const route = async () => {
  const name = chosen();
  at("overview").hidden = Boolean(name);
  at("run").hidden = !name;
  view.close();
  if (!name) return look();
  await look();
  const job = jobOf(name), isBegun = runs.some((run) => run.name === name);
  if (!job && !isBegun) {
    tell(`There is no run ${name}.`);
    location.hash = "";
    return undefined;
  }
  return view.open(name, job, isBegun);
};

addEventListener("hashchange", route);
document.addEventListener("visibilitychange", () => { if (!document.hidden) look(); });
const two = (value) => String(value).padStart(2, "0"), today = new Date();
at("name").value = `run-${two(today.getMonth() + 1)}${two(today.getDate())}-${two(today.getHours())}${two(today.getMinutes())}`;
form.load();
route();
