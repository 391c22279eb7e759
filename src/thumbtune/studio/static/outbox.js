// What a browser has to send: kept in its storage as it is given, sent in its order, removed once it is stored.
//
// Each entry has a UUID of its own, so that one that is sent twice is stored once. Reloads, a lost link and a restart of
// the studio lose none.

import { person, post, Refused } from "./api.js";

const AT_ONCE = 50;
const PATIENCE_MS = 20_000; // with one answer; a lost one is asked for again
const RETRY_MS = [500, 1000, 2000, 4000, 8000];

const outboxes = new Set();
const OTHER_RATER = "studio-other-rater"; // another link was opened in this browser since
const listeners = { waiting: new Set(), refused: new Set(), held: new Set() };
const memory = new Map(); // for browsers that store nothing

// Hear how many entries wait and whether another tab has just sent one, why and how many were refused, or why all
// are held back until they may be sent.
export const onWaiting = (hear) => listeners.waiting.add(hear);
export const onRefused = (hear) => listeners.refused.add(hear);
export const onHeld = (hear) => listeners.held.add(hear);

// Return a random UUID; crypto.randomUUID exists only on this machine or behind TLS.
export const uuid = () => {
  const bytes = crypto.getRandomValues(new Uint8Array(16));
  bytes[6] = (bytes[6] & 0x0f) | 0x40;
  bytes[8] = (bytes[8] & 0x3f) | 0x80;
  const hex = Array.from(bytes, (byte) => byte.toString(16).padStart(2, "0")).join("");
  return [hex.slice(0, 8), hex.slice(8, 12), hex.slice(12, 16), hex.slice(16, 20), hex.slice(20)].join("-");
};

// Return what this browser keeps under a key, or null; keep a text there; forget it.
export const kept = (key) => {
  if (memory.has(key)) return memory.get(key);
  try { return localStorage.getItem(key); } catch { return null; }
};
export const keep = (key, text) => {
  try { localStorage.setItem(key, text); } catch { memory.set(key, text); }
};
export const forget = (key) => {
  memory.delete(key);
  try { localStorage.removeItem(key); } catch { /* no storage */ }
};

// Return whether something would be lost if this page were closed now.
export const isVolatile = () => memory.size > 0;

const tellWaiting = (isSentElsewhere = false) => {
  const count = [...outboxes].reduce((sum, outbox) => sum + outbox.keys().length, 0);
  for (const hear of listeners.waiting) hear(count, isSentElsewhere);
};

// Entries of one name, such as votes. `request(entries)` returns the path and the body that send them.
export class Outbox {
  constructor(name, request) {
    this.prefix = `thumbtune:${person.store}:${person.rater}:`;
    this.queue = `${this.prefix}${name}:`;
    this.request = request;
    this.last = 0;
    this.sending = null;
    this.failures = 0;
    this.timer = 0;
    outboxes.add(this);
    window.addEventListener("storage", (event) => { if (event.key?.startsWith(this.queue)) tellWaiting(event.newValue === null); });
    window.addEventListener("online", () => { this.failures = 0; this.send(); });
    queueMicrotask(() => { tellWaiting(); this.send(); });
  }

  keys() {
    const found = new Set([...memory.keys()].filter((key) => key.startsWith(this.queue)));
    try {
      for (let i = 0; i < localStorage.length; i++) {
        const key = localStorage.key(i);
        if (key.startsWith(this.queue)) found.add(key);
      }
    } catch { /* no storage */ }
    return [...found].sort();
  }

  // Return the entries that wait, oldest first.
  waiting() { return this.keys().map((key) => JSON.parse(kept(key) ?? "null")).filter(Boolean); }

  add(entry) {
    const { length } = this.queue, greatest = Number(this.keys().at(-1)?.slice(length, length + 16) ?? 0);
    this.last = Math.max(Date.now() * 1000, this.last + 1, greatest + 1); // also after a reload, and a clock set back
    keep(`${this.queue}${String(this.last).padStart(16, "0")}:${uuid().slice(0, 8)}`, JSON.stringify(entry));
    tellWaiting();
    this.send();
  }

  async post(batch) {
    const [path, body] = this.request(batch.map(([, entry]) => entry));
    const answer = await post(path, body, { signal: AbortSignal.timeout(PATIENCE_MS) });
    const refused = new Map(); // sentence -> how many
    answer.results.forEach((result, place) => {
      if (!result.stored) refused.set(result.message, (refused.get(result.message) ?? 0) + 1);
      forget(batch[place][0]);
    });
    for (const [sentence, count] of refused) for (const hear of listeners.refused) hear(sentence, count);
  }

  // A batch that the studio does not understand is sent one by one, so that one bad entry holds up no other.
  async postAlone(batch) {
    for (const one of batch) {
      try {
        await this.post([one]);
      } catch (error) {
        if (!(error instanceof Refused) || error.status !== 422) throw error;
        for (const hear of listeners.refused) hear(error.message, 1);
        forget(one[0]);
      }
    }
  }

  async sendAll() {
    for (;;) {
      const batch = this.keys().slice(0, AT_ONCE).map((key) => [key, JSON.parse(kept(key) ?? "null")]).filter(([, entry]) => entry);
      if (!batch.length) return;
      try {
        await this.post(batch);
      } catch (error) {
        if (!(error instanceof Refused) || error.status !== 422) throw error;
        await this.postAlone(batch);
      }
      this.failures = 0;
      tellWaiting();
    }
  }

  // One tab sends at a time, where browsers have locks; otherwise the studio stores what it gets twice once.
  alone(work) { return navigator.locks ? navigator.locks.request(`${this.queue}send`, work) : work(); }

  // Send what waits; after a failure again, later and later.
  async send() {
    if (this.sending) return this.sending;
    clearTimeout(this.timer);
    this.sending = this.alone(() => this.sendAll());
    try {
      await this.sending;
    } catch (error) {
      if (error.code === OTHER_RATER) {
        for (const hear of listeners.held) hear(error.message);
        return undefined; // they stay here for their rater's next page
      }
      this.timer = setTimeout(() => this.send(), RETRY_MS[Math.min(this.failures++, RETRY_MS.length - 1)]);
    } finally {
      this.sending = null;
      tellWaiting();
    }
    if (!this.failures && this.keys().length) this.send(); // given while the last answer came
    return undefined;
  }
}

window.addEventListener("beforeunload", (event) => { if (isVolatile()) event.preventDefault(); });
