// Upload images: choose files or drop them on the page, and send them one after the other.

import { post } from "./api.js";
import { make, number, say } from "./element.js";
import { refresh, tell } from "./shell.js";

const at = (id) => document.getElementById(id);
const dialog = at("upload");
const MARKS = { waiting: "·", sending: "…", new: "✓", known: "=", refused: "!" };
const WORDS = { waiting: "", sending: "", new: "", known: " was in the store before", refused: "" };
const NO_PROMPT = "upload-no-prompt";
const SHOWN = 5; // names in a sentence
let entries = []; // {file, state, why, code}
let busy = false;
let stopped = false; // the dialog was closed: the image that is being sent is the last one
const MAX_BYTES = Number(dialog.dataset.most);

const isOpen = (entry) => entry.state === "waiting" || entry.code === NO_PROMPT;

const problem = (sentence = "") => { say(at("upload-problem"), sentence); };

const draw = () => {
  const first = [...entries].sort((one, other) => (other.state === "refused") - (one.state === "refused"));
  at("upload-list").replaceChildren(...first.map(({ file, state, why }) => make("li", { "data-state": state },
    make("span", { "aria-hidden": "true" }, MARKS[state]), make("span", {}, why ?? `${file.name}${WORDS[state]}`))));
  const open = entries.filter(isOpen).length, done = entries.filter(({ state }) => state === "new" || state === "known").length;
  at("upload-go").textContent = open ? `Upload ${number(open)} ${open === 1 ? "image" : "images"}` : "Upload";
  at("upload-go").disabled = busy || !open;
  const refused = entries.filter((entry) => entry.state === "refused" && !isOpen(entry)).length;
  at("upload-count").textContent = !entries.length ? "" : refused ? `${number(done)} uploaded, ${number(refused)} refused` : `${number(done)} of ${number(entries.length)} uploaded`;
};

// Return names in a sentence: a.png, b.png and 3 more.
const named = (names) => names.slice(0, SHOWN).join(", ") + (names.length > SHOWN ? ` and ${number(names.length - SHOWN)} more` : "");

// Return the entry of a file; one that the studio would refuse is not sent.
const entryOf = (file) => {
  const why = file.size > MAX_BYTES ? `${file.name} is larger than ${number(MAX_BYTES / 1e6)} MB; make it smaller.` : null;
  return why ? { file, state: "refused", why } : { file, state: "waiting" };
};

const add = (files) => {
  if (!files.length || busy) return;
  entries = [...entries.filter(isOpen), ...Array.from(files, entryOf)];
  problem();
  if (!dialog.open) dialog.showModal();
  draw();
  at("upload-go").focus();
};

const send = async (entry, prompt) => {
  Object.assign(entry, { state: "sending", why: undefined, code: undefined });
  draw();
  try {
    const made = await post(`uploads?${new URLSearchParams({ name: entry.file.name.slice(-200), prompt })}`, entry.file);
    entry.state = made.new ? "new" : "known";
  } catch (error) {
    const lost = error.status ? error.message : `${entry.file.name} could not be sent; try it again.`;
    Object.assign(entry, error.status ? { state: "refused", why: lost, code: error.code } : { state: "waiting", why: lost });
    if (!error.status) throw error;
  }
};

const run = async () => {
  problem();
  busy = true;
  stopped = false;
  const prompt = at("upload-prompt").value;
  try {
    for (const entry of entries.filter(isOpen)) {
      if (stopped) break;
      await send(entry, prompt);
    }
  } catch {
    problem("The studio does not answer; upload the rest again when it does.");
  }
  busy = false;
  finish();
};

const finish = () => {
  draw();
  const bare = entries.filter(({ code }) => code === NO_PROMPT).map(({ file }) => file.name);
  const fresh = entries.filter(({ state }) => state === "new").length;
  if (bare.length) {
    problem(`${bare.length === 1 ? "This image has" : "These images have"} no prompt in ${bare.length === 1 ? "it" : "them"}: ${named(bare)}. Type one for all, and upload again.`);
    at("upload-prompt").focus();
  }
  if (fresh) {
    refresh();
    document.dispatchEvent(new CustomEvent("imported"));
  }
  if (entries.every(({ state }) => state === "new" || state === "known")) {
    dialog.close();
    const old = entries.length - fresh;
    tell(`${number(fresh)} ${fresh === 1 ? "image" : "images"} uploaded${old ? `; ${number(old)} ${old === 1 ? "was" : "were"} in the store before` : ""}.`);
  }
};

dialog.addEventListener("close", () => { stopped = true; entries = entries.filter(({ state }) => state === "sending"); draw(); });
at("upload-open").addEventListener("click", () => { problem(); draw(); dialog.showModal(); });
at("upload-close").addEventListener("click", () => dialog.close());
at("upload-go").addEventListener("click", run);
at("upload-files").addEventListener("change", ({ target }) => { add(target.files); target.value = ""; });

// Files may be dropped anywhere; what a browser would do otherwise is to leave the page.
let depth = 0; // of dragenter: it comes for each element
const hasFiles = (event) => event.dataTransfer?.types.includes("Files");
const drag = (by) => {
  depth = by === null ? 0 : depth + by;
  document.body.classList.toggle("dragging", depth > 0);
  at("dropping").hidden = depth === 0 || dialog.open;
};
document.addEventListener("dragenter", (event) => { if (hasFiles(event)) { event.preventDefault(); drag(1); } });
document.addEventListener("dragleave", (event) => { if (hasFiles(event)) drag(-1); });
document.addEventListener("dragover", (event) => { if (hasFiles(event)) event.preventDefault(); });
document.addEventListener("drop", (event) => {
  if (!hasFiles(event)) return;
  event.preventDefault();
  drag(null);
  add(event.dataTransfer.files);
});
if (location.hash === "#upload") { draw(); dialog.showModal(); }
