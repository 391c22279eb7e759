// The frame of every page: live counts, the dot of the link, and short messages.

import { get, onLink } from "./api.js";
import { onHeld, onRefused, onWaiting } from "./outbox.js";
import "./rail.js";
import "./votes.js"; // which sends what waits, on every page
import { number, say } from "./element.js";

const at = (id) => document.getElementById(id);
const EVERY_MS = 20_000;
let counts = null;
let waiting = 0; // votes that are not sent yet
let linked = true;
let nudges = 0;
let subject = ""; // what the page shows now, in the title of the browser
const PAGE = document.title.split(" · ")[0]; // its name

const drawTitle = () => {
  const jobs = counts?.jobs ? `${number(counts.jobs)} ${counts.jobs === 1 ? "job" : "jobs"}` : "";
  document.title = [linked ? "" : "Offline", PAGE, subject, jobs, "Thumbtune"].filter(Boolean).join(" · ");
};

// Name what the page shows now in the title of the browser: a run, or how much is left.
export const setSubject = (words) => {
  subject = words;
  drawTitle();
};

const drawCounts = () => {
  if (!counts) return;
  drawTitle();
  at("likes").textContent = number(counts.likes);
  at("dislikes").textContent = number(counts.dislikes);
  at("left").textContent = number(Math.max(0, counts.left));
  document.dispatchEvent(new CustomEvent("counts", { detail: counts }));
};

// Call with the counts whenever they change, and at once with those that are there: they may have come before a page's
// own modules were loaded.
export const onCounts = (listener) => {
  document.addEventListener("counts", ({ detail }) => listener(detail));
  if (counts) listener(counts);
};

const drawLink = () => {
  drawTitle();
  at("link").dataset.state = linked ? (waiting ? "sending" : "on") : "off";
  const votes = `${number(waiting)} ${waiting === 1 ? "vote" : "votes"}`; // answers of blind tests among them
  at("link-text").textContent = linked
    ? (waiting ? `Sending ${votes}` : "Connected")
    : (waiting ? `Offline, ${votes} kept here` : "Offline");
};

// Fetch the counts. What `nudge` changed meanwhile is not in them yet, so they are fetched again later.
export const refresh = async () => {
  const before = nudges;
  try {
    const fetched = await get("counts");
    if (before !== nudges && counts) return;
    counts = fetched;
    drawCounts();
  } catch { /* the dot tells */ }
};

// Change the counts at once, before the studio has answered.
export const nudge = (changes) => {
  nudges++;
  if (!counts) return;
  for (const [name, by] of Object.entries(changes)) counts[name] += by;
  drawCounts();
};

onWaiting((votes, isSentElsewhere) => {
  const sent = (waiting || isSentElsewhere) && !votes; // another tab's vote may be gone before this one sees it wait
  waiting = votes;
  drawLink();
  if (sent) refresh();
});
onHeld((sentence) => tell(sentence));
onRefused((sentence, count) => tell(`${count === 1 ? "A vote was" : `${number(count)} votes were`} not stored: ${sentence}`));

// The second click of a double click sends no form again.
document.addEventListener("click", (event) => {
  const button = event.target.closest?.("button");
  if (event.detail > 1 && button?.form && button.type === "submit") event.preventDefault();
}, true);

// Show a sentence for some seconds.
export const tell = (sentence) => {
  const toast = document.createElement("p");
  say(toast, sentence);
  at("toasts").append(toast);
  setTimeout(() => toast.remove(), 6000);
};

onLink((now) => {
  linked = now;
  drawLink();
  if (now) refresh();
});
setInterval(() => { if (!document.hidden && !waiting) refresh(); }, EVERY_MS);
document.addEventListener("visibilitychange", () => { if (!document.hidden && !waiting) refresh(); });
refresh();
