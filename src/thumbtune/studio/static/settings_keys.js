// The keys of Settings: a table of Judge's keys, of which each can be another one.

import { make, say } from "./element.js";
import { ACTIONS, choose, isChanged, keyOf, keysOf, nameOf, refusalOf, reset } from "./keys.js";

const at = (id) => document.getElementById(id);
const MODIFIERS = ["Shift", "Control", "Alt", "Meta", "AltGraph", "CapsLock"];
let waiting = null; // the action whose key is pressed next

const problem = (sentence = "") => { say(at("keys-problem"), sentence); };

const row = (one) => {
  const isWaiting = waiting === one;
  const begin = () => { waiting = isWaiting ? null : one; problem(); draw(one); };
  return make("tr", { class: isChanged(one) ? "changed" : null },
    make("td", {}, one.words),
    make("td", {}, ...keysOf(one).flatMap((key, place) => [place ? " " : "", make("kbd", {}, nameOf(key))])),
    make("td", {}, make("button", { class: "small", type: "button", id: `key-${one.name}`, "aria-pressed": String(isWaiting), "aria-label": isWaiting ? `Press a key for ${one.words}, or Escape` : `Change the key for ${one.words}`, on: { click: begin } }, isWaiting ? "Press a key" : "Change")));
};

const draw = (focus = null) => {
  const group = (title, places) => [
    make("tr", {}, make("th", { scope: "rowgroup", colspan: "3" }, title)), ...ACTIONS.filter(({ place }) => places.includes(place)).map(row)];
  at("keys-one").replaceChildren(...group("One image", ["one", "both"]));
  at("keys-wall").replaceChildren(...group("The wall", ["wall"]));
  at("keys-reset").disabled = !ACTIONS.some(isChanged);
  if (focus) at(`key-${focus.name}`).focus();
};

document.addEventListener("keydown", (event) => {
  if (!waiting || event.repeat || MODIFIERS.includes(event.key)) return;
  event.preventDefault();
  const one = waiting, key = keyOf(event);
  if (event.key !== "Escape") {
    const refusal = event.ctrlKey || event.metaKey || event.altKey ? "A key alone is needed, without Ctrl, Alt or Command." : refusalOf(one, key);
    problem(refusal ?? "");
    if (refusal) return;
    choose(one, key);
  }
  waiting = null;
  draw(one);
}, true);
document.addEventListener("keyup", (event) => { if (waiting) event.preventDefault(); }, true); // Space would press the button
at("keys-reset").addEventListener("click", () => {
  reset();
  waiting = null;
  problem();
  draw(ACTIONS[0]);
});
draw();
