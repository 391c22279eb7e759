// Compare: the images of a run beside those of its base, of the same prompts and seeds.

import { get } from "./api.js";
import { make, number } from "./element.js";
import { brief } from "./plot.js";
import { tell } from "./shell.js";

const at = (id) => document.getElementById(id);
const ANSWERS = { passed: ["✓", "done"], failed: ["✕", "failed"], open: ["?", "waiting"] };
const FLICKER_MS = 350;
let run = null;
let comparison = null;
let place = 0;
let timer = null;

const address = (side, pair) => `/api/v1/runs/${encodeURIComponent(run)}/comparison/${side}/${pair.prompt}/${pair.seed}`;

const drawSlider = () => {
  const share = Number(at("share").value), isBeside = at("viewer").classList.contains("beside");
  at("after").style.clipPath = isBeside ? "none" : `inset(0 0 0 ${share}%)`;
  at("edge").style.left = `${share}%`;
};

// Show a pair large.
const show = (wanted) => {
  const { pairs, base } = comparison;
  place = (wanted + pairs.length) % pairs.length;
  const pair = pairs[place];
  at("looked").textContent = pair.words;
  for (const [id, side, name] of [["before", "a", base], ["after", "b", comparison.run]]) {
    const image = at(id).querySelector("img");
    image.src = address(side, pair);
    image.alt = `${pair.words}, by ${name}`;
    at(id).querySelector("figcaption").textContent = name;
  }
  const scores = Object.entries(pair.scores).map(([scorer, [before, after]]) => `${scorer} ${brief(before)} → ${brief(after)}`);
  at("scores").textContent = [`Pair ${number(place + 1)} of ${number(pairs.length)}, seed ${pair.seed}`, ...scores].join(" · ");
  for (const tile of document.querySelectorAll(".tiles button")) tile.setAttribute("aria-current", String(Number(tile.dataset.place) === place));
};

const tile = (pair, index) => make("button", { type: "button", "data-place": String(index), "aria-label": `Pair ${index + 1}, seed ${pair.seed}`,
  on: { click: () => { show(index); at("looked").scrollIntoView({ block: "start" }); } } },
  ...["a", "b"].map((side) => make("img", { src: address(side, pair), alt: "", loading: "lazy", width: "80", height: "80" })));

const draw = () => {
  at("decision").textContent = comparison.sentence;
  at("gates").replaceChildren(...comparison.gates.map((gate) => {
    const [symbol, state] = ANSWERS[gate.answer] ?? ANSWERS.open;
    return make("li", {}, make("span", { class: "state", "data-state": state }, make("span", { "aria-hidden": "true" }, symbol), ` ${gate.answer}`), make("span", {}, gate.sentence));
  }));
  const prompts = new Map();
  comparison.pairs.forEach((pair, index) => prompts.set(pair.prompt, [...(prompts.get(pair.prompt) ?? []), [pair, index]]));
  at("pairs").replaceChildren(...[...prompts.values()].map((pairs) => make("div", {}, make("h3", {}, pairs[0][0].words),
    make("div", { class: "tiles" }, ...pairs.map(([pair, index]) => tile(pair, index))))));
  if (comparison.pairs.length) show(0);
  drawSlider();
};

const open = async (name) => {
  run = name;
  try {
    comparison = await get(`runs/${encodeURIComponent(name)}/comparison`);
    at("comparison").hidden = false;
    at("to-blind").href = `/blind?run=${encodeURIComponent(name)}`;
    draw();
  } catch (error) {
    tell(error.message);
  }
};

const flicker = (on) => {
  clearInterval(timer);
  timer = null;
  at("after").style.visibility = "";
  if (!on || !comparison) return drawSlider();
  at("after").style.clipPath = "none";
  at("after").style.visibility = "hidden"; // at once, so that a short press shows the base too
  timer = setInterval(() => { at("after").style.visibility = at("after").style.visibility ? "" : "hidden"; }, FLICKER_MS);
  return undefined;
};

const beside = () => {
  const isOn = at("viewer").classList.toggle("beside");
  at("beside").setAttribute("aria-pressed", String(isOn));
  at("slide").hidden = isOn;
  drawSlider();
};

at("share").addEventListener("input", drawSlider);
at("back").addEventListener("click", () => show(place - 1));
at("on").addEventListener("click", () => show(place + 1));
at("beside").addEventListener("click", beside);
for (const [event, on] of [["pointerdown", true], ["pointerup", false], ["pointerleave", false], ["pointercancel", false]]) {
  at("flicker").addEventListener(event, () => { if (on || timer) flicker(on); });
}
at("viewer").addEventListener("pointermove", (event) => {
  if (event.pointerType !== "mouse" || timer || at("viewer").classList.contains("beside")) return;
  const box = at("viewer").getBoundingClientRect();
  at("share").value = String(Math.round((100 * (event.clientX - box.left)) / box.width));
  drawSlider();
});
addEventListener("keydown", (event) => {
  if (event.ctrlKey || event.metaKey || event.altKey || !comparison?.pairs.length || event.target.matches("input, select, textarea")) return;
  const act = { ArrowLeft: () => show(place - 1), ArrowRight: () => show(place + 1), s: beside, x: () => flicker(true) }[event.key];
  if (!act) return;
  event.preventDefault();
  if (!event.repeat || event.key.startsWith("Arrow")) act();
});
addEventListener("keyup", (event) => { if (event.key === "x") flicker(false); });
addEventListener("blur", () => flicker(false));

const begin = async () => {
  try {
    const runs = (await get("runs")).filter((each) => each.verdict);
    at("none").hidden = runs.length > 0;
    at("which").replaceChildren(...runs.map((each) => make("option", { value: each.name }, each.name)));
    at("which").disabled = !runs.length;
    const wanted = new URLSearchParams(location.search).get("run");
    if (runs.some((each) => each.name === wanted)) at("which").value = wanted;
    if (runs.length) await open(at("which").value);
  } catch (error) {
    tell(error.message);
  }
};

at("which").addEventListener("change", () => open(at("which").value));
begin();
