// Images: the list with its filters, a selection that keys judge, and a drawer with all about one image.

import { get } from "./api.js";
import { Drawer } from "./drawer.js";
import { number } from "./element.js";
import { Grid } from "./grid.js";
import { nudge, tell } from "./shell.js";
import { setClock, undo, vote } from "./votes.js";
import "./importing.js";
import "./uploading.js";

const at = (id) => document.getElementById(id);
const PAGE = 200;
const KINDS = { like: "likes", dislike: "dislikes", skip: "skips" };
const KEYS = { l: "like", d: "dislike", s: "skip" };

let after = null;
let ended = false;
let request = null; // of the list; a new filter ends it

const filters = () => {
  const query = { label: at("label").value };
  if (at("mine").checked) query.mine = true;
  if (at("text").value.trim()) query.text = at("text").value.trim();
  return query;
};

const grid = new Grid(at("grid"), { more: () => load(), selected: () => drawSelection(), open: (item) => drawer.open(item) });
const drawer = new Drawer(at("drawer"), () => at("grid").focus());

const load = async () => {
  if (request || ended) return;
  const now = (request = new AbortController());
  const query = new URLSearchParams({ ...filters(), limit: PAGE, ...(after ? { after } : {}) });
  try {
    const page = await get(`images?${query}`, { signal: now.signal });
    if (request !== now) return;
    after = page.after;
    ended = after === null;
    grid.add(page.images);
    at("none").hidden = grid.items.length > 0;
  } catch (error) {
    if (error.name === "AbortError") return;
    tell(error.message);
    setTimeout(() => grid.draw(), 2000); // it asks for more again
  } finally {
    if (request === now) request = null;
  }
  grid.draw();
};

const countAll = async () => {
  at("total").textContent = "";
  try {
    const { total } = await get(`images/total?${new URLSearchParams(filters())}`);
    at("total").textContent = `${number(total)} ${total === 1 ? "image" : "images"}`;
  } catch { /* the list tells */ }
};

const restart = () => {
  request?.abort();
  request = null;
  after = null;
  ended = false;
  grid.clear();
  drawer.close();
  load();
  countAll();
};

const drawSelection = () => {
  const count = grid.selection.size;
  at("acts").hidden = !count;
  at("selected").textContent = `${number(count)} selected`;
};

const judge = (kind) => {
  for (const item of grid.chosen()) {
    if (kind === item.own) continue;
    if (kind === null && !item.own) continue;
    if (item.own) nudge({ [KINDS[item.own]]: -1, left: 1 });
    if (kind === null) {
      undo(item.own_vote);
      item.own_vote = null; // what counts now is the vote before, if there was one; the list is read again
    } else {
      item.own_vote = vote(item.id, kind);
      nudge({ [KINDS[kind]]: 1, left: -1 });
    }
    for (const [name, field] of Object.entries(KINDS)) item[field] += (name === kind) - (name === item.own);
    item.own = kind;
  }
  grid.redraw();
  drawer.refresh();
};

document.addEventListener("keydown", (event) => {
  if (event.repeat || event.ctrlKey || event.metaKey || event.altKey) return;
  if (event.target.closest?.("dialog, input, select, textarea")) return;
  const key = event.key.length === 1 ? event.key.toLowerCase() : event.key;
  if (KEYS[key]) judge(KEYS[key]);
  else if (key === "u" || key === "Backspace") judge(null);
  else if (key === "Escape") {
    if (drawer.isOpen) drawer.close();
    else grid.select([]);
  } else return;
  event.preventDefault();
});
for (const [id, kind] of [["do-like", "like"], ["do-dislike", "dislike"], ["do-skip", "skip"], ["do-undo", null]]) {
  at(id).addEventListener("click", () => judge(kind));
}
at("do-none").addEventListener("click", () => grid.select([]));
for (const id of ["label", "mine"]) at(id).addEventListener("change", restart);
let typing = 0;
at("text").addEventListener("input", () => {
  clearTimeout(typing);
  typing = setTimeout(restart, 250);
});
document.addEventListener("imported", restart);

get("queue?limit=1").then((answer) => setClock(answer.now)).catch(() => {});
restart();
