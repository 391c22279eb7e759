// The form of a new blind test: of images that are there, or of two runs, whose images a job generates first.

import { get, person, post } from "./api.js";
import { copy, make, say } from "./element.js";
import { JobList, isActive } from "./job_list.js";
import { tell } from "./shell.js";
import { beginJob } from "./asking.js";

const at = (id) => document.getElementById(id);
const TWO = "two runs";
const PENDING = `thumbtune:${person.store}:blind-pending`; // the settings of tests whose images are being generated, by job

const pending = () => { try { return JSON.parse(localStorage.getItem(PENDING) ?? "{}"); } catch { return {}; } };
const keepPending = (now) => localStorage.setItem(PENDING, JSON.stringify(now));
const alone = (work) => (navigator.locks ? navigator.locks.request(PENDING, work) : work()); // of all tabs

export class NewTest {
  // `made` is called after a test was made.
  constructor(made) {
    Object.assign(this, { made, sources: [], beginning: false });
    this.jobs = new JobList(at("duels"), "duel", {
      wanted: (job) => isActive(job) || job.state === "failed" || job.state === "stopped" || String(job.id) in pending(),
      most: 3,
      drawn: (jobs) => this.#begin(jobs),
    });
    at("form").addEventListener("submit", (event) => {
      event.preventDefault();
      this.#ask(() => (this.#isTwo() ? this.#generate() : this.#make(at("source").value, this.#settings())));
    });
    at("stop").addEventListener("change", () => { at("stop-about").hidden = at("stop").value === "all"; });
    at("source").addEventListener("change", () => this.#drawTwo());
    for (const id of ["run-a", "run-b"]) at(id).addEventListener("change", () => this.#suggest());
    at("copy-command").addEventListener("click", () => this.#ask(() => this.#copy()));
  }

  async load() {
    try {
      const [sources, runs] = await Promise.all([get("blind/sources"), get("runs")]);
      this.sources = sources;
      this.#draw(runs.filter((run) => run.finished).map((run) => run.name));
      await this.jobs.look();
    } catch (error) {
      tell(error.message);
    }
  }

  #isTwo() {
    return at("source").value === TWO;
  }

  #settings() {
    return { pairs: Number(at("pairs").value), question: at("question").value, stop: at("stop").value };
  }

  #draw(runs) {
    const options = this.sources.map((one) => make("option", { value: one.id }, `${one.run ?? one.path}: ${one.b} against ${one.a}`));
    if (runs.length > 1) options.push(make("option", { value: TWO }, "Two runs, whose images are generated first"));
    at("no-source").hidden = options.length > 0;
    for (const id of ["start", "source", "copy-command"]) at(id).disabled = !options.length;
    at("source").replaceChildren(...options);
    const wanted = this.sources.find((one) => one.run && one.run === new URLSearchParams(location.search).get("run"));
    if (wanted) at("source").value = wanted.id;
    for (const [id, place] of [["run-a", 1], ["run-b", 0]]) { // the newest as B
      at(id).replaceChildren(...runs.map((name) => make("option", {}, name)));
      if (runs.length > 1) at(id).value = runs[place];
    }
    this.#drawTwo();
  }

  #drawTwo() {
    const isHidden = at("two-runs").hidden;
    at("two-runs").hidden = !this.#isTwo();
    if (isHidden && this.#isTwo()) this.#suggest();
  }

  // Fill in the prompts that neither run was trained on.
  async #suggest() {
    const asked = new URLSearchParams({ a: at("run-a").value, b: at("run-b").value });
    try {
      at("duel-prompts").value = (await get(`blind/prompts?${asked}`)).prompts.join("\n");
    } catch { /* they are typed then */ }
  }

  #duel() {
    const prompts = at("duel-prompts").value.split("\n").map((line) => line.trim()).filter(Boolean);
    return { a: at("run-a").value, b: at("run-b").value, prompts, per_prompt: Number(at("per-prompt").value) };
  }

  async #generate() {
    const job = await beginJob("jobs/duel", this.#duel(), "Generate these images?", "Generate");
    if (!job) return;
    keepPending({ ...pending(), [job.id]: this.#settings() });
    await this.jobs.look();
  }

  async #make(source, settings) {
    at("start").textContent = "Packing images";
    await post("blind", { source, ...settings });
    await this.made();
  }

  // Make the tests whose images are there now.
  #begin(jobs) {
    const waiting = pending(), done = jobs.filter((job) => job.state === "done" && job.id in waiting);
    if (!done.length || this.beginning) return;
    this.beginning = true; // one at a time: to load draws the jobs again
    this.#ask(async () => {
      try {
        await this.load();
        for (const job of done) await alone(() => this.#makeOf(job));
      } finally {
        this.beginning = false;
      }
    });
  }

  // Make the test of a job's images, unless another tab has: whoever takes its settings makes it.
  async #makeOf(job) {
    const { [job.id]: settings, ...rest } = pending();
    if (!settings) return this.made(); // another tab's test is to be seen
    keepPending(rest);
    try {
      const source = this.sources.find((one) => one.path === `duels/${job.name}`);
      if (source) await this.#make(source.id, settings);
    } catch (error) {
      keepPending({ ...pending(), [job.id]: settings }); // for the next look
      throw error;
    }
    return undefined;
  }

  async #copy() {
    if (this.#isTwo()) return copy((await post("jobs/duel/check", this.#duel())).command, at("copy-command"));
    const source = this.sources.find((one) => one.id === at("source").value), { pairs, stop } = this.#settings();
    return copy(`${source.command} --trials ${pairs}${stop === "all" ? "" : ` --stop ${stop}`}`, at("copy-command"));
  }

  async #ask(act) {
    at("form-problem").textContent = "";
    at("start").disabled = true;
    try {
      await act();
    } catch (error) {
      say(at("form-problem"), error.message);
    }
    at("start").disabled = !at("source").options.length;
    at("start").textContent = "Make the test";
  }
}
