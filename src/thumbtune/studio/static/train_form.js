// The form of a new training: a preset, six settings, and all others in one list to search.

import { get, post } from "./api.js";
import { copy, make, say } from "./element.js";
import { beginJob } from "./asking.js";

const at = (id) => document.getElementById(id);
const LABELS = {
  "train.steps": "Steps", "train.lr": "Learning rate", "objective.beta": "Beta: hold to the base",
  "lora.rank": "Rank of the LoRA", label_policy: "Label policy",
};

// Return the lines of a plan as terms and their lines; a line without a term belongs to the one before.
const planOf = (lines) => lines.flatMap((line) => {
  const [, term, text] = line.match(/^(\S*)\s*(.*)$/);
  return [...(term ? [make("dt", {}, term)] : []), make("dd", {}, text)];
});

export class TrainForm {
  constructor(started) {
    Object.assign(this, { started, options: [], presets: [], chosen: {}, changed: new Map(), preset: "standard", model: "" });
    at("form").addEventListener("submit", (event) => { event.preventDefault(); this.#start(); });
    at("copy-command").addEventListener("click", () => this.#copy("command"));
    at("copy-yaml").addEventListener("click", () => this.#copy("recipe"));
    at("estimate").addEventListener("click", () => this.#estimate());
    at("search").addEventListener("input", () => this.#filter());
    at("model").addEventListener("change", () => this.load());
    at("recipe").addEventListener("change", () => this.load());
  }

  // Fetch the options with the defaults of the model and of the shipped recipe.
  async load() {
    const asked = new URLSearchParams();
    const model = at("model").value.trim(), recipe = at("recipe").value;
    if (model) asked.set("model", model);
    if (recipe) asked.set("shipped_recipe", recipe);
    try {
      const form = await get(`recipe?${asked}`);
      Object.assign(this, { options: form.options, presets: form.presets, chosen: form.settings });
      at("model").placeholder = form.options.find((option) => option.key === "model").default;
      if (at("recipe").options.length === 1) at("recipe").append(...form.shipped.map((name) => make("option", {}, name)));
      this.#problem("");
      this.#draw();
    } catch (error) {
      this.#problem(error.message);
    }
  }

  // Return what differs from the defaults: what Settings says, the preset's settings, then those that were typed.
  settings() {
    const preset = this.presets.find((each) => each.name === this.preset)?.settings ?? {};
    const model = at("model").value.trim();
    const settings = { ...(model ? { model } : {}), ...this.chosen, ...preset, ...Object.fromEntries(this.changed) };
    const defaults = Object.fromEntries(this.options.map((option) => [option.key, option.default]));
    return Object.fromEntries(Object.entries(settings).filter(([key, value]) => key === "model" || value !== defaults[key]));
  }

  // Take over the name and the settings of a training; the presets are of no use then.
  async fillIn({ name, settings }) {
    const { model, ...others } = settings;
    at("name").value = name;
    at("model").value = model ?? "";
    Object.assign(this, { preset: null, changed: new Map(Object.entries(others)) });
    await this.load();
    for (const option of this.options) { // as the run had it, and not as Settings says
      if (option.key in this.chosen && !this.changed.has(option.key)) this.changed.set(option.key, option.default);
    }
    this.#fill();
    at("name").focus();
  }

  request() {
    return { name: at("name").value.trim(), recipe: at("recipe").value || null, settings: this.settings() };
  }

  #problem(sentence) {
    say(at("form-problem"), sentence);
  }

  #draw() {
    at("presets").replaceChildren(...this.presets.map((preset) => this.#preset(preset)));
    const first = Object.keys(LABELS).map((key) => this.options.find((option) => option.key === key));
    at("first").replaceChildren(...first.map((option) => make("div", { class: "field" },
      make("label", { for: `first-${option.key}` }, LABELS[option.key]), this.#input(option, `first-${option.key}`))));
    at("options").replaceChildren(...this.options.filter((option) => option.key !== "model").map((option) => this.#row(option)));
    this.#filter();
    this.#mark();
  }

  #preset(preset) {
    const choose = () => { this.preset = preset.name; this.#fill(); };
    const id = `preset-${preset.name}`;
    return make("label", { class: "preset", for: id },
      make("input", { type: "radio", name: "preset", id, value: preset.name, checked: preset.name === this.preset, on: { change: choose } }),
      make("strong", {}, preset.title), make("span", { class: "quiet" }, preset.about),
      make("code", {}, Object.entries(preset.settings).map(([key, value]) => `${key.replace("train.", "")} ${value}`).join(" · ") || "as the model's defaults"));
  }

  #input(option, id) {
    const change = (event) => {
      const value = event.target.value.trim();
      if (value === "") this.changed.delete(option.key);
      else this.changed.set(option.key, value);
      this.#fill(event.target);
    };
    const common = { id, "data-key": option.key, on: { change } };
    if (!option.choices.length) return make("input", { ...common, autocomplete: "off", spellcheck: "false", maxlength: "2000" });
    return make("select", common, ...option.choices.map((choice) => make("option", { value: choice }, choice)));
  }

  #row(option) {
    const id = `option-${option.key}`;
    return make("div", { class: "option", "data-text": `${option.key} ${option.help}`.toLowerCase() },
      make("label", { for: id }, make("code", {}, option.key), make("span", { class: "differs", hidden: true }, " changed")),
      this.#input(option, id),
      make("p", { class: "quiet" }, option.help, make("span", {}, ` Here: ${option.default}.`)));
  }

  #fill(but = null) {
    const settings = this.settings();
    for (const input of at("form").querySelectorAll("[data-key]")) {
      const option = this.options.find((each) => each.key === input.dataset.key);
      if (input !== but || input.value.trim() === "") input.value = settings[option.key] ?? option.default;
    }
    this.#mark();
  }

  #mark() {
    const settings = this.settings();
    for (const input of at("form").querySelectorAll("[data-key]")) {
      const option = this.options.find((each) => each.key === input.dataset.key);
      if (input !== document.activeElement) input.value = settings[option.key] ?? option.default;
    }
    for (const row of document.querySelectorAll(".option")) {
      row.querySelector(".differs").hidden = !(row.querySelector("[data-key]").dataset.key in settings);
    }
    const count = Object.keys(settings).length;
    at("changed").textContent = count ? `${count} ${count === 1 ? "setting differs" : "settings differ"} from the defaults` : "All settings are the defaults";
  }

  #filter() {
    const words = at("search").value.toLowerCase().split(/\s+/).filter(Boolean);
    let shown = 0;
    for (const row of document.querySelectorAll(".option")) {
      row.hidden = !words.every((word) => row.dataset.text.includes(word));
      shown += row.hidden ? 0 : 1;
    }
    at("found").textContent = `${shown} of ${this.options.length - 1}`;
  }

  async #start() {
    at("start").disabled = true;
    try {
      const job = await beginJob("jobs/train", this.request(), "Start this training?", "Start training");
      this.#problem("");
      if (job) this.started(job);
    } catch (error) {
      this.#problem(error.message);
    }
    at("start").disabled = false;
  }

  async #copy(what) {
    try {
      await copy((await post("jobs/train/check", this.request()))[what], at(what === "command" ? "copy-command" : "copy-yaml"));
      this.#problem("");
    } catch (error) {
      this.#problem(error.message);
    }
  }

  async #estimate() {
    const button = at("estimate");
    button.disabled = true;
    at("plan").hidden = false;
    at("plan").replaceChildren(make("dd", {}, "Loading the model and measuring a step…"));
    try {
      at("plan").replaceChildren(...planOf((await post("jobs/train/estimate", this.request())).lines));
      this.#problem("");
    } catch (error) {
      at("plan").hidden = true;
      this.#problem(error.message);
    }
    button.disabled = false;
  }
}
