// The demo of Home: a job that generates images of the bundled model, which come to Judge.

import { post } from "./api.js";
import { copy, make, say } from "./element.js";
import { JobList } from "./job_list.js";
import { onCounts } from "./shell.js";

const at = (id) => document.getElementById(id);
const DEMO = /^demo(-\d+)?$/;

const list = new JobList(at("demos"), "generate", {
  wanted: (job) => DEMO.test(job.name),
  link: (job) => (job.done ? make("a", { class: "button small main", href: "/judge" }, "Judge them") : null),
  drawn: (jobs) => { at("demo-start").textContent = jobs.length ? "Generate 80 more" : "Generate 80 images"; },
});

const ask = async (act) => {
  at("demo-problem").textContent = "";
  try {
    await act();
  } catch (error) {
    say(at("demo-problem"), error.message);
  }
};

at("demo-start").addEventListener("click", async () => {
  at("demo-start").disabled = true;
  await ask(async () => { await post("jobs/demo"); await list.look(); });
  at("demo-start").disabled = false;
});
at("demo-copy").addEventListener("click", () => ask(async () => copy((await post("jobs/demo/check")).command, at("demo-copy"))));
onCounts(({ images }) => at("demo-start").classList.toggle("main", !images));
list.look();
