// Generate: prompts, how many images of each, with which model; the images come into the store as they are made.

import { get, person, post } from "./api.js";
import { copy, duration, make, number, say } from "./element.js";
import { JobList, paceOf } from "./job_list.js";
import { beginJob } from "./asking.js";
import { forget, keep, kept } from "./outbox.js";
import { refresh, tell } from "./shell.js";

const at = (id) => document.getElementById(id);
const form = at("form");
const KEPT = `thumbtune:${person.store}:${person.rater}:generate`; // what the form says, over reloads and refusals
const FIELDS = ["prompts", "model", "other", "per-prompt", "seed", "steps", "guidance", "size", "negative"];
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
  const written = prompts().map((line) => line.replace(/\s+/g, " ")), lines = new Set(written).size, doubled = written.length - lines;
  const images = lines * (given("per-prompt") ?? 0);
  at("total").textContent = `${number(lines)} ${lines === 1 ? "prompt" : "prompts"}${doubled ? ` (${number(doubled)} doubled left out)` : ""}, ${number(images)} ${images === 1 ? "image" : "images"}${pace && images ? `, about ${duration(pace * images)} at the pace of the last generation` : ""}`;
  at("other-field").hidden = at("model").value !== OTHER;
};

const keepForm = () => keep(KEPT, JSON.stringify(Object.fromEntries(FIELDS.map((id) => [id, at(id).value]))));

// Fill in what the form said before; a run that is gone leaves the model as it is.
const fillForm = () => {
  let values = {};
  try { values = JSON.parse(kept(KEPT) ?? "{}"); } catch { forget(KEPT); }
  for (const id of FIELDS) {
    const field = at(id), value = values[id];
    if (typeof value === "string" && (field.tagName !== "SELECT" || [...field.options].some((option) => option.value === value))) field.value = value;
  }
  if (["steps", "guidance", "size", "negative"].some((id) => at(id).value)) form.querySelector("details").open = true;
};

const problem = (sentence) => { say(at("form-problem"), sentence); };

form.addEventListener("input", () => { problem(""); keepForm(); drawTotal(); });
form.addEventListener("submit", async (event) => {
  event.preventDefault();
  at("start").disabled = true;
  try {
    const job = await beginJob("jobs/generate", request(), "Generate these images?", "Generate all the same");
    problem("");
    if (job) await list.look();
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
    fillForm(); // once more, for the run that was chosen
    const wanted = new URLSearchParams(location.search).get("run");
    if (wanted && runs.some((run) => run.name === wanted)) at("model").value = `run:${wanted}`;
  } catch (error) {
    if (error.status) tell(error.message);
  }
  drawTotal();
};

fillForm();
drawTotal();
fillModels();
list.look().then(refresh);
