// The votes of this browser, in the outbox under the mark of the store and the name of the rater, so that they reach no
// other store and nobody else's name.

import { person } from "./api.js";
import { Outbox, keep, kept, uuid } from "./outbox.js";

const HISTORY = `thumbtune:${person.store}:${person.rater}:history`;
const KEPT = 60; // judged images that can be looked back at

let offset = 0; // of the studio's clock to this one, in ms

const outbox = new Outbox("vote", (entries) => ["votes", { store: person.store, rater: person.rater, votes: entries }]);

// Take over the studio's clock, which orders the votes of several browsers.
export const setClock = (now) => { offset = Date.parse(now) - Date.now(); };

// Return the votes that wait, oldest first.
export const waiting = () => outbox.waiting();

// Vote on an image: kind is like, dislike or skip. Returns the vote's id.
export const vote = (image, kind, { id = uuid(), reason = null } = {}) => {
  const entry = { id, image, kind, at: new Date(Date.now() + offset).toISOString() };
  if (reason) entry.reason = reason;
  outbox.add(entry);
  return id;
};

// Take a vote back.
export const undo = (id) => outbox.add({ undoes: id });

// Return the id of the repeat after this one, of the same vote: its last four digits count on (feedback/store/repeats.py).
export const furtherRepeat = (id) => `${id.slice(0, -4)}${((parseInt(id.slice(-4), 16) + 1) % 0x10000).toString(16).padStart(4, "0")}`;

// Judged images, oldest first: what was shown, the vote's kind and id.
export const history = () => {
  try { return JSON.parse(kept(HISTORY) ?? "[]"); } catch { return []; }
};
// Hear that another tab of this browser has judged, or taken a vote back.
export const onHistory = (hear) => window.addEventListener("storage", (event) => { if (event.key === HISTORY) hear(); });
export const setHistory = (entries) => keep(HISTORY, JSON.stringify(entries.slice(-KEPT)));
