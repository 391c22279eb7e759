// Generate: prompts, how many images of each, with which model; the images come into the store as they are made.

import { get, post } from "./api.js";
import { copy, duration, make, number } from "./element.js";
import { JobList, paceOf } from "./job_list.js";
import { refresh, tell } from "./shell.js";

const at = (id) => document.getElementById(id);
const form = at("form");
const KEPT = "thumbtune-prompts";
const OTHER = "other";

let pace = null; // seconds of an image

const list = new JobList(at("jobs"), "generate", {
  drawn: (jobs) => {
    const last = jobs.find((job) => job.state === "done" && job.done);
    pace = last ? paceOf(last) : null;
    drawTotal();
  },
  empty: "Nothing was generated yet.",
  link: (job) => (job.done ? make("a", { class: "button small", href: "/judge" }, "Judge them") : null),
});

const prompts = () => at("prompts").value.split("\n").map((line) => line.trim()).filter(Boolean);
const given = (id) => (at(id).value.trim() === "" ? null : Number(at(id).value));

// Return the request that the form describes.
const request = () => {
  const model = at("model").value;
  return {
    prompts: prompts(),
    per_prompt: given("per-prompt") ?? 1,
    seed: given("seed") ?? 0,
    run: model.startsWith("run:") ? model.slice(4) : null,
    model: model === OTHER ? at("other").value.trim() : null,
    steps: given("steps"),
    guidance: given("guidance"),
    size: at("size").value.trim() || null,
    negative: at("negative").value.trim(),
  };
};

const drawTotal = () => {
  const lines = prompts().length;
  const images = lines * (given("per-prompt") ?? 0);
  at("total").textContent = `${number(lines)} ${lines === 1 ? "prompt" : "prompts"}, ${number(images)} ${images === 1 ? "image" : "images"}${pace && images ? `, about ${duration(pace * images)} at the pace of the last generation` : ""}`;
  at("other-field").hidden = at("model").value !== OTHER;
  localStorage.setItem(KEPT, at("prompts").value);
};

const problem = (sentence) => { at("form-problem").textContent = sentence; };

form.addEventListener("input", () => { problem(""); drawTotal(); });
form.addEventListener("submit", async (event) => {
  event.preventDefault();
  at("start").disabled = true;
  try {
    await post("jobs/generate", request());
    problem("");
    await list.look();
  } catch (error) {
    problem(error.message);
  }
  at("start").disabled = false;
});
at("copy").addEventListener("click", async () => {
  try {
    await copy((await post("jobs/generate/check", request())).command, at("copy"));
  } catch (error) {
    problem(error.message);
  }
});

const fillModels = async () => {
  try {
    const runs = (await get("runs")).filter((run) => run.finished);
    const group = at("runs");
    group.replaceChildren(...runs.map((run) => make("option", { value: `run:${run.name}` }, run.name)));
    group.hidden = !runs.length;
    const wanted = new URLSearchParams(location.search).get("run");
    if (wanted && runs.some((run) => run.name === wanted)) at("model").value = `run:${wanted}`;
  } catch (error) {
    if (error.status) tell(error.message);
  }
  drawTotal();
};

at("prompts").value = localStorage.getItem(KEPT) ?? "";
drawTotal();
fillModels();
list.look().then(refresh);
