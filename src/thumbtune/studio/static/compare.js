// Compare: the images of a run beside those of its base, or of any two of its checkpoints or strengths.

import { get } from "./api.js";
import { make, number, say, spoken } from "./element.js";
import { GridView } from "./grid_view.js";
import { brief } from "./plot.js";
import { setSubject, tell } from "./shell.js";
import { beside, flicker, showPair } from "./viewer.js";

const at = (id) => document.getElementById(id);
const ANSWERS = { passed: ["✓", "done"], failed: ["✕", "failed"], open: ["?", "waiting"] };
const MODES = ["evaluation", "grid"];
let runs = [];
let run = null;
let mode = "evaluation";
let pairs = []; // what the viewer goes through
let place = 0;

// Return what a list says of a run besides its name: how far one is that has no result.
const stateOf = ({ finished, step, steps }) => (finished ? "" : ` (not finished: step ${number(step)}${steps ? ` of ${number(steps)}` : ""})`);

const path = (name) => `runs/${encodeURIComponent(name)}`;

// Show a pair large.
const show = (wanted) => {
  at("look").hidden = !pairs.length;
  if (!pairs.length) return;
  place = (wanted + pairs.length) % pairs.length;
  const pair = pairs[place];
  showPair({ ...pair, about: [`Pair ${number(place + 1)} of ${number(pairs.length)}, seed ${pair.seed}`, ...pair.scores].join(" · ") });
  for (const tile of document.querySelectorAll(".tiles button")) tile.setAttribute("aria-current", String(Number(tile.dataset.place) === place));
  grid.mark(pair);
};

const grid = new GridView((found, wanted) => {
  if (mode !== "grid") return;
  pairs = found;
  show(wanted ?? Math.min(place, Math.max(0, pairs.length - 1)));
});

const tile = (pair, index) => make("button", { type: "button", "data-place": String(index), "aria-label": `Pair ${index + 1}, seed ${pair.seed}`,
  on: { click: () => { show(index); at("looked").scrollIntoView({ block: "start" }); } } },
  ...["before", "after"].map((side) => make("img", { src: pair[side].src, alt: "", loading: "lazy", width: "80", height: "80" })));

const drawVerdict = (comparison) => {
  say(at("decision"), comparison.sentence);
  at("gates").replaceChildren(...comparison.gates.map((gate) => {
    const [symbol, state] = ANSWERS[gate.answer] ?? ANSWERS.open;
    return make("li", {}, make("span", { class: "state", "data-state": state }, make("span", { "aria-hidden": "true" }, symbol), ` ${gate.answer}`), make("span", {}, ...spoken(gate.sentence)));
  }));
  const prompts = new Map();
  pairs.forEach((pair, index) => prompts.set(pair.prompt, [...(prompts.get(pair.prompt) ?? []), [pair, index]]));
  at("pairs").replaceChildren(...[...prompts.values()].map((some) => make("div", {}, make("h3", {}, some[0][0].words),
    make("div", { class: "tiles" }, ...some.map(([pair, index]) => tile(pair, index))))));
};

const openEvaluation = async () => {
  const isEvaluated = Boolean(runs.find((each) => each.name === run)?.verdict);
  at("unevaluated").hidden = isEvaluated;
  at("to-run").href = `/train#run=${encodeURIComponent(run)}`;
  at("comparison").hidden = !isEvaluated;
  if (!isEvaluated) return;
  const comparison = await get(`${path(run)}/comparison`);
  const image = (side, pair) => `/api/v1/${path(run)}/comparison/${side}/${pair.prompt}/${pair.seed}`;
  pairs = comparison.pairs.map((pair) => ({
    words: pair.words, prompt: pair.prompt, seed: pair.seed,
    before: { src: image("a", pair), name: comparison.base }, after: { src: image("b", pair), name: comparison.run },
    scores: Object.entries(pair.scores).map(([scorer, [before, after]]) => `${scorer} ${brief(before)} → ${brief(after)}`),
  }));
  at("to-blind").href = `/blind?run=${encodeURIComponent(run)}`;
  drawVerdict(comparison);
  show(0);
};

const openGrid = async () => {
  at("unevaluated").hidden = true;
  at("comparison").hidden = false;
  await grid.open(run);
};

const open = async () => {
  run = at("which").value;
  setSubject(run);
  pairs = [];
  place = 0;
  for (const each of MODES) at(`mode-${each}`).setAttribute("aria-pressed", String(each === mode));
  for (const part of document.querySelectorAll(".of-evaluation")) part.hidden = mode !== "evaluation";
  for (const part of document.querySelectorAll(".of-grid")) part.hidden = mode !== "grid";
  at("columns").hidden = mode !== "grid";
  try {
    await (mode === "grid" ? openGrid() : openEvaluation());
  } catch (error) {
    tell(error.message);
  }
};

for (const each of MODES) at(`mode-${each}`).addEventListener("click", () => { mode = each; if (run) open(); });
at("back").addEventListener("click", () => show(place - 1));
at("on").addEventListener("click", () => show(place + 1));
addEventListener("keydown", (event) => {
  if (event.ctrlKey || event.metaKey || event.altKey || !pairs.length || event.target.matches("input, select, textarea")) return;
  const act = { ArrowLeft: () => show(place - 1), ArrowRight: () => show(place + 1), s: beside, x: () => flicker(true) }[event.key];
  if (!act) return;
  event.preventDefault();
  if (!event.repeat || event.key.startsWith("Arrow")) act();
});

const begin = async () => {
  try {
    runs = await get("runs");
    at("none").hidden = runs.length > 0;
    runs = [...runs.filter((each) => each.finished), ...runs.filter((each) => !each.finished)]; // each part newest first
    at("which").replaceChildren(...runs.map((each) => make("option", { value: each.name }, `${each.name}${stateOf(each)}`)));
    for (const id of ["which", ...MODES.map((each) => `mode-${each}`)]) at(id).disabled = !runs.length;
    const wanted = new URLSearchParams(location.search).get("run");
    const chosen = runs.find((each) => each.name === wanted) ?? runs.find((each) => each.verdict) ?? runs[0];
    if (!chosen) return;
    at("which").value = chosen.name;
    if (location.hash === "#grid") mode = "grid";
    await open();
  } catch (error) {
    tell(error.message);
  }
};

at("which").addEventListener("change", open);
begin();
