// The keys of Judge: what each one does, and those that a person chose instead, kept in this browser.

import { person } from "./api.js";
import { forget, keep, kept } from "./outbox.js";

const KEPT = `thumbtune:keys:${person.rater}`;

const action = (place) => ([name, words, ...keys]) => ({ name, words, keys, place });
// place: where the key counts, on one image, on the wall, or on both
export const ACTIONS = [
  ...[
    ["dislike", "Dislike", "ArrowLeft"], ["like", "Like", "ArrowRight"], ["skip", "Skip", " "], ["undo", "Undo", "u", "Backspace"],
    ["older", "Look back", "ArrowUp"], ["newer", "Look forward", "ArrowDown"], ["zoom", "Pixel by pixel", "z"],
    ["full", "Full screen", "f"], ["words", "Hide the prompt", "p"], ["blur", "Blur", "b"],
    ["reason-1", "Reason: wrong prompt", "1"], ["reason-2", "Reason: anatomy", "2"], ["reason-3", "Reason: style", "3"],
    ["reason-4", "Reason: quality", "4"], ["reason-5", "Reason: other", "5"],
  ].map(action("one")),
  ...[
    ["wall-like", "Like", "l"], ["wall-dislike", "Dislike", "d"], ["wall-skip", "Skip", "s"], ["wall-undo", "Undo", "u", "Backspace"],
    ["wall-rest", "Dislike the rest", "r"], ["wall-next", "Next images", "n"],
  ].map(action("wall")),
  action("both")(["wall", "One image or the wall", "w"]),
];
const NAMES = { ArrowLeft: "←", ArrowRight: "→", ArrowUp: "↑", ArrowDown: "↓", " ": "Space" };
const ARROWS = ["ArrowLeft", "ArrowRight", "ArrowUp", "ArrowDown"];
const OTHERS = [...ARROWS, "Backspace", "Delete", "Home", "End", "PageUp", "PageDown", "Insert"];

// Return the key of an event: letters without their case.
export const keyOf = (event) => (event.key.length === 1 ? event.key.toLowerCase() : event.key);

// Return how a key is printed.
export const nameOf = (key) => NAMES[key] ?? (key.length === 1 ? key.toUpperCase() : key);

const chosen = () => {
  try {
    const stored = JSON.parse(kept(KEPT) ?? "{}");
    const known = ACTIONS.map(({ name }) => name).filter((name) => isKey(stored[name]));
    return Object.fromEntries(known.map((name) => [name, stored[name]]));
  } catch {
    return {};
  }
};

const isKey = (key) => typeof key === "string" && (key.length === 1 || OTHERS.includes(key));

// Return the keys of an action, the printed one first.
export const keysOf = ({ name, keys }) => {
  const own = chosen()[name];
  return own === undefined ? keys : [own];
};

export const isChanged = ({ name }) => name in chosen();

const meet = (a, b) => a.place === b.place || a.place === "both" || b.place === "both";

// Return what each key does on one image or on the wall: a map from keys to the names of actions.
export const tableOf = (place) => new Map(
  ACTIONS.filter((one) => one.place === place || one.place === "both").flatMap((one) => keysOf(one).map((key) => [key, one.name])),
);

// Return why a key cannot be that of an action, in a sentence; null if it can.
export const refusalOf = (wanted, key) => {
  if (!isKey(key)) return `${nameOf(key)} keeps its meaning on every page; choose a letter, a digit, an arrow or another key.`;
  if (wanted.place !== "one" && ARROWS.includes(key)) return "The arrows move on the wall; choose another key.";
  const other = ACTIONS.find((one) => one.name !== wanted.name && meet(one, wanted) && keysOf(one).includes(key));
  if (!other) return null;
  return `${nameOf(key)} is the key for “${other.words}” already; give that one another key first, or choose another.`;
};

// Hear that keys were chosen in another tab of this browser.
export const onKeys = (hear) => window.addEventListener("storage", (event) => { if (event.key === KEPT) hear(); });

// Keep a key for an action.
export const choose = ({ name }, key) => keep(KEPT, JSON.stringify({ ...chosen(), [name]: key }));

// Give all actions their first keys back.
export const reset = () => forget(KEPT);

const print = (button, one) => {
  const [key] = keysOf(one);
  const mark = button.querySelector("kbd");
  if (mark) mark.textContent = nameOf(key);
  if (button.matches("button")) button.setAttribute("aria-keyshortcuts", key === " " ? "Space" : key);
};

// Print the keys on what they press: an element whose data-action names the action.
export const printKeys = () => {
  for (const button of document.querySelectorAll("[data-action]")) {
    const one = ACTIONS.find(({ name }) => name === button.dataset.action);
    if (one) print(button, one);
  }
};
