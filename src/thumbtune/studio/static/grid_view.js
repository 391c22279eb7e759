// The grid of a run: prompts and seeds in rows; base, checkpoints and result, or strengths of the LoRA, in columns.

import { get, post } from "./api.js";
import { copy, make, say } from "./element.js";
import { JobList } from "./job_list.js";
import { beginJob } from "./asking.js";

const at = (id) => document.getElementById(id);
const path = (name) => `runs/${encodeURIComponent(name)}`;

export class GridView {
  // `changed` gets the pairs of the two chosen columns, and the place of the one to show if there is one.
  constructor(changed) {
    Object.assign(this, { changed, run: null, grid: null, shown: "" });
    let done = null;
    this.jobs = new JobList(at("grid-jobs"), "compare", {
      most: 1, // the newest
      title: () => "Newest images",
      wanted: (job) => job.name.startsWith(`${this.run}/`),
      drawn: ([job]) => {
        const now = job ? `${job.id} ${job.state} ${job.done}` : null;
        if (done !== null && now !== done) this.#load();
        done = now;
      },
    });
    at("grid-form").addEventListener("submit", (event) => {
      event.preventDefault();
      this.#ask(async () => { if (await beginJob("jobs/compare", this.#request(), "Generate these images?", "Generate")) await this.jobs.look(); });
    });
    at("grid-copy").addEventListener("click", () => this.#ask(async () => copy((await post("jobs/compare/check", this.#request())).command, at("grid-copy"))));
    for (const side of ["left", "right"]) at(`column-${side}`).addEventListener("change", () => this.#choose());
    for (const kind of ["steps", "strengths"]) at(`kind-${kind}`).addEventListener("change", () => this.#drawKind());
  }

  async open(run) {
    Object.assign(this, { run, shown: "" });
    await this.#load();
    this.#drawForm();
    await this.jobs.look();
  }

  // Mark the row of a pair in the table.
  mark(pair) {
    for (const row of at("grid").querySelectorAll("tbody tr")) row.toggleAttribute("data-current", Number(row.dataset.row) === pair.row);
  }

  async #load() {
    const { run } = this, found = await get(`${path(run)}/grid`);
    if (run !== this.run) return;
    this.grid = found;
    const now = JSON.stringify([found.columns, found.rows]);
    if (now === this.shown) return;
    this.shown = now;
    this.#drawColumns();
    this.#drawTable();
    this.#choose();
  }

  #request() {
    const isStrengths = at("kind-strengths").checked;
    const steps = [...at("steps").querySelectorAll("input:checked")].map((one) => Number(one.value));
    const of = at("lora-of").value;
    const strengths = at("strengths").value.split(/[,;\s]+/).filter(Boolean).map(Number);
    return {
      run: this.run,
      prompts: at("prompts").value.split("\n").map((line) => line.trim()).filter(Boolean),
      seeds: Number(at("seeds").value),
      seed: Number(at("seed").value),
      checkpoints: isStrengths ? (of ? [Number(of)] : []) : steps,
      strengths: isStrengths ? strengths : [],
    };
  }

  #drawForm() {
    const { grid } = this;
    const prompts = grid.rows.length ? grid.rows.map((row) => row.prompt) : grid.prompts;
    at("prompts").value = [...new Set(prompts)].join("\n");
    const last = grid.checkpoints.at(-1); // of a finished run, it is the result
    at("steps").replaceChildren(...grid.checkpoints.map((step) => make("label", { class: "tick", for: `step-${step}` },
      make("input", { type: "checkbox", id: `step-${step}`, value: String(step), checked: !(grid.finished && step === last) }), ` step ${step}`)));
    at("lora-of").replaceChildren(...(grid.finished ? [make("option", { value: "" }, "the result")] : []),
      ...grid.checkpoints.map((step) => make("option", { value: String(step) }, `step ${step}`)));
    at("grid-problem").textContent = "";
    this.#drawKind();
  }

  #drawKind() {
    at("steps").hidden = !at("kind-steps").checked;
    at("strength-fields").hidden = !at("kind-strengths").checked;
  }

  #drawColumns() {
    const { columns } = this.grid;
    for (const [side, usual] of [["left", 0], ["right", columns.length - 1]]) {
      const before = at(`column-${side}`).selectedOptions[0]?.textContent;
      at(`column-${side}`).replaceChildren(...columns.map((name, place) => make("option", { value: String(place) }, name)));
      const kept = columns.indexOf(before);
      if (columns.length) at(`column-${side}`).value = String(kept < 0 ? usual : kept);
    }
  }

  #image(name) {
    return `/api/v1/${path(this.run)}/grid/${name}`;
  }

  #drawTable() {
    const { columns, rows } = this.grid;
    at("grid-box").hidden = !rows.length;
    const head = make("tr", {}, make("th", { scope: "col" }, "Prompt"), ...columns.map((name) => make("th", { scope: "col" }, name)));
    const cell = (row, place, name, column) => make("td", {}, name === null ? make("span", { class: "quiet" }, "…")
      : make("button", { type: "button", "aria-label": `${row.prompt}, seed ${row.seed}, ${columns[column]}`, on: { click: () => this.#pick(place, column) } },
        make("img", { src: this.#image(name), alt: "", loading: "lazy", width: "96", height: "96" })));
    at("grid").replaceChildren(make("thead", {}, head), make("tbody", {}, ...rows.map((row, place) => make("tr", { "data-row": String(place) },
      make("th", { scope: "row" }, row.prompt, make("span", { class: "quiet" }, ` seed ${row.seed}`)),
      ...row.images.map((name, column) => cell(row, place, name, column))))));
  }

  // Show an image on the right.
  #pick(row, column) {
    at("column-right").value = String(column);
    this.#choose(row);
    at("looked").scrollIntoView({ block: "start" });
  }

  #choose(row = null) {
    const { columns, rows } = this.grid, left = Number(at("column-left").value), right = Number(at("column-right").value);
    const whole = rows.map((one, place) => ({ ...one, row: place })).filter((one) => one.images[left] && one.images[right]);
    const pairs = whole.map((one) => ({
      words: one.prompt, seed: one.seed, row: one.row, scores: [],
      before: { src: this.#image(one.images[left]), name: columns[left] }, after: { src: this.#image(one.images[right]), name: columns[right] },
    }));
    const wanted = pairs.findIndex((pair) => pair.row === row);
    this.changed(pairs, wanted < 0 ? null : wanted);
  }

  async #ask(act) {
    at("grid-start").disabled = true;
    try {
      await act();
      at("grid-problem").textContent = "";
    } catch (error) {
      say(at("grid-problem"), error.message);
    }
    at("grid-start").disabled = false;
  }
}
