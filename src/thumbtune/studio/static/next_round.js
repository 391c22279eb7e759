// The next round of a finished run: images to judge, then a training that begins from its LoRA.

import { get, post } from "./api.js";
import { copy, make } from "./element.js";
import { JobList } from "./job_list.js";
import { askerOf, beginJob } from "./asking.js";

const at = (id) => document.getElementById(id);
const NOTHING = "The next round was not begun yet.";

export class NextRound {
  // `train` gets the name and the settings of the next training.
  constructor(train) {
    this.run = null;
    const ask = askerOf(at("next-problem"));
    this.list = new JobList(at("rounds"), "round", {
      empty: NOTHING,
      link: (job) => (job.done ? make("a", { class: "button small", href: "/judge?order=uncertain" }, "Judge them") : null),
      wanted: (job) => job.name === `${this.run}-round` || job.name.startsWith(`${this.run}-round-`),
    });
    at("next").addEventListener("submit", (event) => {
      event.preventDefault();
      ask(async () => { if (await beginJob("jobs/round", this.#request(), "Generate for the next round?", "Generate all the same")) await this.list.look(); });
    });
    at("next-copy").addEventListener("click", () => ask(async () => copy((await post("jobs/round/check", this.#request())).command, at("next-copy"))));
    at("next-train").addEventListener("click", () => ask(async () => train(await get(`runs/${encodeURIComponent(this.run)}/next?reference=${at("next-reference").value}`))));
  }

  // Show the form below a run, or hide it.
  toggle(run) {
    if (!at("next").hidden) return this.hide();
    this.run = run;
    at("next").hidden = false;
    at("next-per-prompt").focus();
    return this.list.look();
  }

  hide() {
    at("next").hidden = true;
    at("next-problem").textContent = "";
  }

  #request() {
    const prompts = at("next-prompts").value.split("\n").map((line) => line.trim()).filter(Boolean);
    const limit = at("next-limit").value.trim();
    return { run: this.run, per_prompt: Number(at("next-per-prompt").value), limit: limit ? Number(limit) : null, prompts };
  }
}
