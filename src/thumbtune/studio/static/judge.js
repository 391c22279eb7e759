// Judge: one image at a time. The vote names the image that is on the screen; a key before an image is there does nothing.

import { Deck, load } from "./deck.js";
import { number } from "./element.js";
import { keyOf, onKeys, printKeys, tableOf } from "./keys.js";
import { nudge, onCounts, setSubject, tell } from "./shell.js";
import { furtherRepeat, history, onHistory, setHistory, undo, vote } from "./votes.js";
import { Wall } from "./wall.js";

const at = (id) => document.getElementById(id);
const KINDS = { like: "likes", dislike: "dislikes", skip: "skips" };
const PAST = { like: "Liked", dislike: "Disliked", skip: "Skipped" };
const SWIPE_PX = 70;
const GOAL = 50; // likes, and dislikes, of a first training
const HINT_AFTER = 20;
const ONE_SIDED = 0.2;

let past = history();
let back = null; // place in `past` that is looked at; null: the first of the deck
let backCard = null;
let shown = null; // the card on the screen
const reasons = new Set();
let isWall = false;

const deck = new Deck(() => draw(), (item) => tell(`Image ${item.id} could not be shown, and was left out.`));
const wall = new Wall(at("wall"), deck, { judge, takeBack });

// Another tab of this browser judged: its images are not shown here again, and its verdicts can be looked back at.
onHistory(() => {
  const now = history(), ids = new Set(now.map(({ id }) => id)), known = new Set(past.map(({ id }) => id));
  const first = past.findIndex(({ id }) => ids.has(id)); // those before have only grown too old to be kept
  const looked = back === null ? null : past[back].id;
  const judged = now.filter(({ id }) => !known.has(id));
  const changed = new Set(judged.map(({ item }) => item.id)); // judged otherwise, after a look back
  const takenBack = past.filter(({ id, item }, place) => place > first && !ids.has(id) && !changed.has(item.id));
  past = now;
  if (looked !== null && !ids.has(looked)) back = backCard = null;
  else if (looked !== null) back = past.findIndex(({ id }) => id === looked);
  deck.follow(judged, takenBack);
  wall.follow(judged, takenBack);
  draw();
});

const current = () => (back === null ? deck.first : backCard);

function draw() {
  if (isWall) {
    wall.fill();
    return drawEnd(wall.isEmpty);
  }
  const card = current();
  if (card?.ready && card !== shown) {
    shown = card;
    at("frame").replaceChildren(card.element);
    at("frame").dataset.image = card.item.id;
    at("prompt").textContent = card.item.prompt;
    at("prompt").scrollTop = 0;
    at("stage").scrollTo(0, 0);
    reasons.clear();
  }
  if (!card || !card.ready) {
    shown = null;
    at("frame").replaceChildren();
    delete at("frame").dataset.image;
  }
  at("stage").classList.toggle("loading", Boolean(card) && !card.ready);
  const entry = back === null ? null : past[back];
  at("earlier").hidden = !entry;
  at("earlier").textContent = entry ? `${PAST[entry.kind]} before. A new vote replaces it.` : "";
  at("undo").disabled = !past.length;
  at("older").disabled = (back ?? past.length) === 0;
  at("newer").disabled = back === null;
  for (const button of at("reasons").querySelectorAll("button")) button.setAttribute("aria-pressed", String(reasons.has(button.value)));
  drawEnd(!card && back === null);
}

function drawEnd(isEmpty) {
  const done = isEmpty && deck.ended;
  at("one").hidden = isWall || done;
  at("wall").hidden = !isWall || done;
  at("end").hidden = !done;
}

// A verdict that follows on a silent repeat, after an undo or a look back, is a repeat again.
const again = (item) => ({ ...item, vote: item.vote ? furtherRepeat(item.vote) : null });

function remember(item, kind, id) {
  past = [...history(), { item: again(item), kind, id }].slice(-60); // another tab may have judged just now
  setHistory(past);
}

// Vote on a card of the deck.
function judge(card, kind, reason = null) {
  const { item } = card;
  const id = vote(item.id, kind, item.vote ? { id: item.vote, reason } : { reason });
  remember(item, kind, id);
  if (!item.vote) nudge({ [KINDS[kind]]: 1, left: -1 });
  deck.drop([card]);
}

function judgeShown(kind) {
  const card = current();
  if (!card || card !== shown) return; // nobody has seen it yet
  flash(kind);
  const reason = [...reasons].join(", ") || null;
  if (back === null) judge(card, kind, reason);
  else {
    const entry = past[back], { item } = entry;
    if (!item.vote && entry.kind !== kind) nudge({ [KINDS[entry.kind]]: -1, [KINDS[kind]]: 1 }); // a repeat changes no label
    Object.assign(entry, { id: vote(item.id, kind, item.vote ? { id: item.vote, reason } : { reason }), kind, item: again(item) });
    setHistory(past);
    look(1);
  }
  draw();
}

function takeBack() {
  const entry = past.pop();
  if (!entry) return null;
  setHistory(past);
  undo(entry.id);
  if (!entry.item.vote) nudge({ [KINDS[entry.kind]]: -1, left: 1 });
  deck.putBack(entry.item);
  back = backCard = null;
  draw();
  return entry;
}

function look(by) {
  const place = (back ?? past.length) + by;
  if (place < 0 || place > past.length) return;
  back = place === past.length ? null : place;
  backCard = null;
  if (back !== null) {
    const card = { item: past[back].item, ready: false, ...load(past[back].item) };
    backCard = card;
    card.done.then((good) => {
      card.ready = good;
      if (backCard === card) draw();
    });
  }
  draw();
}

const flash = (kind) => {
  const mark = at("flash");
  mark.textContent = { like: "♥", dislike: "✕", skip: "→" }[kind];
  mark.className = kind;
  mark.getAnimations?.().forEach((one) => one.cancel());
  if (!matchMedia("(prefers-reduced-motion: reduce)").matches) {
    mark.animate([{ opacity: 0.9, scale: 0.8 }, { opacity: 0, scale: 1.3 }], { duration: 350, easing: "ease-out" });
  }
};

const press = (id, on) => at(id).setAttribute("aria-pressed", String(on));
const toggle = (id, name) => press(id, document.body.classList.toggle(name));

const setMode = (toWall) => {
  isWall = toWall;
  back = backCard = shown = null;
  document.body.classList.toggle("walled", isWall);
  press("mode-one", !isWall);
  press("mode-wall", isWall);
  draw();
};

const fullScreen = () => {
  if (document.fullscreenElement) document.exitFullscreen();
  else at("main").requestFullscreen?.();
};

const actions = {
  dislike: () => judgeShown("dislike"),
  like: () => judgeShown("like"),
  skip: () => judgeShown("skip"),
  undo: takeBack,
  older: () => look(-1),
  newer: () => look(1),
  zoom: () => toggle("zoom", "zoomed"),
  full: fullScreen,
  words: () => toggle("words", "wordless"),
  blur: () => toggle("blur", "blurred"),
};
let ONE = tableOf("one"), WALL = tableOf("wall"); // keys -> actions
onKeys(() => {
  [ONE, WALL] = [tableOf("one"), tableOf("wall")];
  printKeys();
});
const REASON = /^reason-(\d)$/;

const reason = (place) => {
  const button = at("reasons").querySelectorAll("button")[place - 1];
  if (!button || !shown) return;
  if (!reasons.delete(button.value)) reasons.add(button.value);
  draw();
};

document.addEventListener("keydown", (event) => {
  const key = keyOf(event);
  if (event.repeat) {
    if (ONE.has(key) || event.key === "Enter") event.preventDefault(); // a held key is one press, on buttons too
    return;
  }
  if (event.key === " " && event.target.closest?.("button, a")) return; // it presses what has the focus
  if (event.ctrlKey || event.metaKey || event.altKey || event.target.closest?.("dialog, input, select, textarea")) return;
  const name = (isWall ? WALL : ONE).get(key);
  if (name === "wall") setMode(!isWall);
  else if (isWall) {
    if (!wall.press(name ?? key)) return;
  } else if (REASON.test(name)) reason(Number(name.match(REASON)[1]));
  else if (name) actions[name]();
  else return;
  event.preventDefault();
});
// a click leaves no focus behind, so that the next key means what it says
document.addEventListener("click", (event) => { if (event.detail) event.target.closest("#one button, #tools button")?.blur(); });
for (const [id, act] of Object.entries(actions)) at(id).addEventListener("click", act);
at("reasons").addEventListener("click", (event) => {
  const buttons = [...at("reasons").querySelectorAll("button")];
  const place = buttons.indexOf(event.target.closest("button"));
  if (place >= 0) reason(place + 1);
});
at("mode-one").addEventListener("click", () => setMode(false));
at("mode-wall").addEventListener("click", () => setMode(true));
at("order").addEventListener("change", (event) => {
  shown = back = backCard = null;
  deck.restart(event.target.value);
  event.target.blur();
});

// A finger drags the image; far enough to a side is a vote.
let drag = null;
const stage = at("stage");
stage.addEventListener("pointerdown", (event) => {
  if (event.pointerType === "mouse" || document.body.classList.contains("zoomed")) return;
  drag = { x: event.clientX, id: event.pointerId };
});
stage.addEventListener("pointermove", (event) => {
  if (!drag || event.pointerId !== drag.id) return;
  const by = event.clientX - drag.x;
  at("frame").style.transform = `translateX(${by}px) rotate(${by / 40}deg)`;
  stage.dataset.swipe = Math.abs(by) < SWIPE_PX ? "" : by > 0 ? "like" : "dislike";
});
const drop = (event) => {
  if (!drag || event.pointerId !== drag.id) return;
  const by = event.type === "pointerup" ? event.clientX - drag.x : 0;
  drag = null;
  at("frame").style.transform = "";
  stage.dataset.swipe = "";
  if (Math.abs(by) >= SWIPE_PX) judgeShown(by > 0 ? "like" : "dislike");
};
stage.addEventListener("pointerup", drop);
stage.addEventListener("pointercancel", drop);

onCounts(({ likes, dislikes, images, left }) => {
  if (left > 0 && deck.ended && !deck.first) deck.restart(deck.order); // images have come since
  for (const [name, count] of [["goal-likes", likes], ["goal-dislikes", dislikes]]) {
    at(name).value = Math.min(GOAL, count);
    at(`${name}-text`).textContent = count;
  }
  const both = likes + dislikes;
  const few = both >= HINT_AFTER && Math.min(likes, dislikes) < ONE_SIDED * both;
  const name = likes < dislikes ? "likes" : "dislikes";
  at("hint").textContent = few
    ? `Few ${name} so far: ${Math.min(likes, dislikes)} of ${both}. Training learns from both.`
    : both && Math.min(likes, dislikes) >= GOAL ? "Enough for a first training." : "";
  setSubject(left > 0 ? `${number(left)} left` : "");
  at("end").dataset.images = images ? "some" : "none";
});

const wanted = new URLSearchParams(location.search).get("order");
if ([...at("order").options].some((option) => option.value === wanted)) {
  at("order").value = wanted;
  deck.restart(wanted);
} else deck.fill();
printKeys();
draw();
