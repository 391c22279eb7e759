// Two images of one prompt and seed, over each other with a slider, side by side, or in turn.

const at = (id) => document.getElementById(id);
const FLICKER_MS = 350;
const SIDES = ["before", "after"];
let timer = null;

const drawSlider = () => {
  const share = Number(at("share").value), isBeside = at("viewer").classList.contains("beside");
  at("after").style.clipPath = isBeside ? "none" : `inset(0 0 0 ${share}%)`;
  at("edge").style.left = `${share}%`;
};

// Show a pair: { words, before: { src, name }, after: { src, name }, about }.
export const showPair = (pair) => {
  at("looked").textContent = pair.words;
  for (const side of SIDES) {
    const image = at(side).querySelector("img");
    image.src = pair[side].src;
    image.alt = `${pair.words}, by ${pair[side].name}`;
    at(side).querySelector("figcaption").textContent = pair[side].name;
  }
  at("scores").textContent = pair.about;
  drawSlider();
};

export const flicker = (on) => {
  clearInterval(timer);
  timer = null;
  at("after").style.visibility = "";
  if (!on) return drawSlider();
  at("after").style.clipPath = "none";
  at("after").style.visibility = "hidden"; // at once, so that a short press shows the other one too
  timer = setInterval(() => { at("after").style.visibility = at("after").style.visibility ? "" : "hidden"; }, FLICKER_MS);
  return undefined;
};

export const beside = () => {
  const isOn = at("viewer").classList.toggle("beside");
  at("beside").setAttribute("aria-pressed", String(isOn));
  at("slide").hidden = isOn;
  drawSlider();
};

at("share").addEventListener("input", drawSlider);
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
addEventListener("keyup", (event) => { if (event.key === "x") flicker(false); });
addEventListener("blur", () => flicker(false));
