// The pairs of a blind test: fetched and decoded ahead, both shown at once, and the choice kept here until it is stored.

import { get, person } from "./api.js";
import { Outbox, keep, kept, uuid } from "./outbox.js";

const at = (id) => document.getElementById(id);
const AHEAD = 4; // pairs
const MIN_ANSWER_MS = 250; // the second click of a double click does not answer the next pair
const RETRY_MS = 1500;
const KEPT = 100; // answers that can be undone after a reload
const SIDES = ["left", "right"];

const pause = (ms) => new Promise((resolve) => { setTimeout(resolve, ms); });

// Return what waits to be sent for a test, and send it.
const outboxes = new Map();
export const outboxOf = (test) => {
  if (!outboxes.has(test)) {
    outboxes.set(test, new Outbox(`blind-${test}`, (entries) => [
      `blind/${test}/answers`, { store: person.store, rater: person.rater, answers: entries },
    ]));
  }
  return outboxes.get(test);
};

// Fetch an image: its address works once, so it is kept as a blob, which the page can show again.
const fetched = async (address, name) => {
  const answer = await fetch(address, { credentials: "same-origin", cache: "no-store" });
  if (!answer.ok) throw new Error(`The image could not be fetched (${answer.status}).`);
  const image = new Image();
  image.alt = name;
  image.draggable = false;
  image.src = URL.createObjectURL(await answer.blob());
  try {
    await image.decode();
  } finally {
    URL.revokeObjectURL(image.src);
  }
  return image;
};

export class Sitting {
  constructor(test, ended) {
    this.test = test;
    this.ended = ended; // called when there is no pair left
    this.outbox = outboxOf(test.id);
    this.historyKey = `thumbtune:${person.store}:${person.rater}:blind-history-${test.id}`;
    this.cards = []; // {id, words, addresses, images}
    this.shown = null;
    this.since = null; // time when the pair became visible; null while it is hidden
    this.spent = 0;
    this.isOpen = true;
    this.isComplete = false;
    this.done = null; // number of answers
    this.here = new Set(this.unsent()); // trials answered in this browser, perhaps not stored yet
    try { this.history = JSON.parse(kept(this.historyKey) ?? "[]"); } catch { this.history = []; }
    this.fill();
    this.draw();
  }

  close() {
    this.isOpen = false;
  }

  // Return the trials whose answers wait here.
  unsent() {
    const trials = new Map();
    for (const entry of this.outbox.waiting()) {
      if (entry.undoes) trials.delete(entry.undoes);
      else trials.set(entry.id, entry.trial);
    }
    return [...trials.values()];
  }

  async fill() {
    if (this.filling || !this.isOpen || this.isComplete || this.cards.length >= AHEAD) return;
    this.filling = true;
    if (this.done === null) await Promise.race([this.outbox.send(), pause(RETRY_MS)]); // so that the studio knows what waited
    const unsent = this.unsent();
    const limit = Math.min(50, AHEAD + unsent.length + this.cards.length);
    try {
      const answer = await get(`blind/${this.test.id}/trials?limit=${limit}`);
      this.done ??= answer.answered + unsent.length;
      const held = new Set(this.cards.map((card) => card.id));
      for (const trial of answer.next) {
        if (held.has(trial.id) || this.here.has(trial.id) || this.cards.length >= AHEAD) continue;
        this.add({ id: trial.id, words: trial.words, addresses: trial, images: null });
      }
      this.isComplete = answer.next.length < limit && answer.next.every((trial) => this.here.has(trial.id) || this.cards.some((card) => card.id === trial.id));
      this.isEnded = answer.ended;
    } catch {
      setTimeout(() => this.fill(), RETRY_MS);
    } finally {
      this.filling = false;
    }
    this.draw();
  }

  add(card, first = false) {
    if (first) this.cards.unshift(card);
    else this.cards.push(card);
    this.load(card);
  }

  async load(card) {
    try {
      card.addresses ??= await get(`blind/${this.test.id}/trials/${card.id}`);
      const loading = SIDES.map((side) => fetched(card.addresses[side], `${side === "left" ? "First" : "Second"} image`));
      card.addresses = null; // they work once
      card.images = await Promise.all(loading);
    } catch {
      card.addresses = null;
      if (this.isOpen && this.cards.includes(card)) setTimeout(() => this.load(card), RETRY_MS);
      return;
    }
    this.draw();
  }

  draw() {
    if (!this.isOpen) return;
    const [card] = this.cards;
    at("asked").textContent = this.test.question;
    at("undo").disabled = !this.history.length;
    if (this.done !== null) {
      at("bar").max = this.test.trials;
      at("bar").value = this.done;
      at("count").textContent = `${Math.min(this.done + 1, this.test.trials)} of ${this.test.trials}`;
    }
    if (!card) {
      this.hide();
      if (this.isComplete) this.ended(this.isEnded);
      return;
    }
    if (!card.images) {
      this.hide();
      return;
    }
    if (card === this.shown) return;
    this.shown = card;
    SIDES.forEach((side, place) => at(`choose-${side}`).querySelector(".shown").replaceChildren(card.images[place]));
    at("words").textContent = card.words;
    at("choices").classList.remove("waiting");
    at("choices").dataset.trial = card.id;
    this.spent = 0;
    this.since = document.hidden ? null : performance.now();
  }

  hide() {
    this.shown = null;
    this.since = null;
    at("choices").classList.add("waiting");
    delete at("choices").dataset.trial;
  }

  // Count the time only while the page is visible.
  look(isVisible) {
    if (!this.shown) return;
    if (!isVisible && this.since !== null) {
      this.spent += performance.now() - this.since;
      this.since = null;
    } else if (isVisible) this.since ??= performance.now();
  }

  choose(choice) {
    const card = this.shown;
    if (!card || this.since === null) return; // nobody has seen it yet
    const ms = this.spent + performance.now() - this.since;
    if (ms < MIN_ANSWER_MS) return;
    const id = uuid();
    this.outbox.add({ id, trial: card.id, choice, seconds: Math.min(86400, Math.round(ms / 10) / 100) });
    this.here.add(card.id);
    this.remember([...this.history, { id, trial: card.id, words: card.words }]);
    this.done += 1;
    this.cards = this.cards.filter((one) => one !== card);
    this.fill();
    this.draw();
  }

  undo() {
    const last = this.history.at(-1);
    if (!last) return false;
    this.outbox.add({ undoes: last.id });
    this.here.delete(last.trial);
    this.remember(this.history.slice(0, -1));
    this.done = Math.max(0, this.done - 1);
    this.cards = this.cards.filter((card) => card.id !== last.trial);
    this.add({ id: last.trial, words: last.words, addresses: null, images: null }, true);
    this.draw();
    return true;
  }

  remember(history) {
    this.history = history.slice(-KEPT);
    keep(this.historyKey, JSON.stringify(this.history));
  }
}
