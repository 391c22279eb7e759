// The votes of this browser: kept in its storage as they are given, sent in their order, removed once they are stored.
//
// Each vote has a UUID of its own, so that one that is sent twice is stored once. They wait under the mark of the store
// and the name of the rater, so that they reach no other store and nobody else's name. Reloads, a lost link and a
// restart of the studio lose none.

import { person, post, Refused } from "./api.js";

const PREFIX = `thumbtune:${person.store}:${person.rater}:`;
const QUEUE = `${PREFIX}vote:`;
const HISTORY = `${PREFIX}history`;
const AT_ONCE = 50;
const KEPT = 60; // judged images that can be looked back at
const PATIENCE_MS = 20_000; // with one answer; a lost one is asked for again
const RETRY_MS = [500, 1000, 2000, 4000, 8000];

const listeners = { waiting: new Set(), refused: new Set() };
const memory = new Map(); // for browsers that store nothing
let offset = 0; // of the studio's clock to this one, in ms
let last = 0;
let sending = null;
let failures = 0;
let timer = 0;

// Hear how many votes wait, or of a vote that was refused.
export const onWaiting = (hear) => listeners.waiting.add(hear);
export const onRefused = (hear) => listeners.refused.add(hear);

// Take over the studio's clock, which orders the votes of several browsers.
export const setClock = (now) => { offset = Date.parse(now) - Date.now(); };

// Return a random UUID; crypto.randomUUID exists only on this machine or behind TLS.
export const uuid = () => {
  const bytes = crypto.getRandomValues(new Uint8Array(16));
  bytes[6] = (bytes[6] & 0x0f) | 0x40;
  bytes[8] = (bytes[8] & 0x3f) | 0x80;
  const hex = Array.from(bytes, (byte) => byte.toString(16).padStart(2, "0")).join("");
  return [hex.slice(0, 8), hex.slice(8, 12), hex.slice(12, 16), hex.slice(16, 20), hex.slice(20)].join("-");
};

const keys = () => {
  const found = new Set(memory.keys());
  try {
    for (let i = 0; i < localStorage.length; i++) {
      const key = localStorage.key(i);
      if (key.startsWith(QUEUE)) found.add(key);
    }
  } catch { /* no storage */ }
  return [...found].sort();
};

const read = (key) => {
  if (memory.has(key)) return memory.get(key);
  try { return localStorage.getItem(key); } catch { return null; }
};

const write = (key, text) => {
  try { localStorage.setItem(key, text); } catch { memory.set(key, text); }
};

const remove = (key) => {
  memory.delete(key);
  try { localStorage.removeItem(key); } catch { /* no storage */ }
};

// Return whether votes would be lost if this page were closed now.
export const isVolatile = () => memory.size > 0;

// Return the votes that wait, oldest first.
export const waiting = () => keys().map((key) => JSON.parse(read(key) ?? "null")).filter(Boolean);

const tellWaiting = () => {
  const count = keys().length;
  for (const hear of listeners.waiting) hear(count);
};

const add = (entry) => {
  last = Math.max(Date.now() * 1000, last + 1);
  write(`${QUEUE}${String(last).padStart(16, "0")}:${uuid().slice(0, 8)}`, JSON.stringify(entry));
  tellWaiting();
  send();
};

// Vote on an image: kind is like, dislike or skip. Returns the vote's id.
export const vote = (image, kind, { id = uuid(), reason = null } = {}) => {
  const entry = { id, image, kind, at: new Date(Date.now() + offset).toISOString() };
  if (reason) entry.reason = reason;
  add(entry);
  return id;
};

// Take a vote back.
export const undo = (id) => add({ undoes: id });

// Judged images, oldest first: what was shown, the vote's kind and id.
export const history = () => {
  try { return JSON.parse(read(HISTORY) ?? "[]"); } catch { return []; }
};
export const setHistory = (entries) => write(HISTORY, JSON.stringify(entries.slice(-KEPT)));

const post_ = async (batch) => {
  const body = { store: person.store, votes: batch.map(([, entry]) => entry) };
  const answer = await post("votes", body, { signal: AbortSignal.timeout(PATIENCE_MS) });
  answer.results.forEach((result, place) => {
    if (!result.stored) for (const hear of listeners.refused) hear(result.message, batch[place][1]);
    remove(batch[place][0]);
  });
};

// A batch that the studio does not understand is sent vote by vote, so that one bad vote holds up no other.
const postAlone = async (batch) => {
  for (const one of batch) {
    try {
      await post_([one]);
    } catch (error) {
      if (!(error instanceof Refused) || error.status !== 422) throw error;
      for (const hear of listeners.refused) hear(error.message, one[1]);
      remove(one[0]);
    }
  }
};

const sendAll = async () => {
  for (;;) {
    const batch = keys().slice(0, AT_ONCE).map((key) => [key, JSON.parse(read(key) ?? "null")]).filter(([, entry]) => entry);
    if (!batch.length) return;
    try {
      await post_(batch);
    } catch (error) {
      if (!(error instanceof Refused) || error.status !== 422) throw error;
      await postAlone(batch);
    }
    failures = 0;
    tellWaiting();
  }
};

// One tab sends at a time, where browsers have locks; otherwise the studio stores what it gets twice once.
const alone = (work) => (navigator.locks ? navigator.locks.request(`${PREFIX}send`, work) : work());

// Send what waits; after a failure again, later and later.
export const send = async () => {
  if (sending) return sending;
  clearTimeout(timer);
  sending = alone(sendAll);
  try {
    await sending;
  } catch {
    timer = setTimeout(send, RETRY_MS[Math.min(failures++, RETRY_MS.length - 1)]);
  } finally {
    sending = null;
    tellWaiting();
  }
  if (!failures && keys().length) send(); // given while the last answer came
};

window.addEventListener("storage", (event) => { if (event.key?.startsWith(QUEUE)) tellWaiting(); });
window.addEventListener("online", () => { failures = 0; send(); });
window.addEventListener("beforeunload", (event) => { if (isVolatile()) event.preventDefault(); });
queueMicrotask(() => { tellWaiting(); send(); });
