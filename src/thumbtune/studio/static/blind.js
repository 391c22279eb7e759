// Blind test: the list of tests, a form for a new one, and the way to the pairs and to the result.

import { get, person, post } from "./api.js";
import { NewTest } from "./blind_new.js";
import { showResult } from "./blind_result.js";
import { Sitting, outboxOf } from "./blind_trial.js";
import { ago, make, number, spoken } from "./element.js";
import { setSubject, tell } from "./shell.js";
import { sure } from "./asking.js";

const at = (id) => document.getElementById(id);
const isOwner = person.role === "owner";
const EVERY_MS = 5000;
const VIEWS = ["overview", "trial", "done", "result"];
let tests = [];
let sitting = null;
let timer = 0;

const chosen = () => location.hash.match(/^#(test|result)=([0-9a-f]{20})$/)?.slice(1) ?? ["", ""];
const view = (name) => {
  for (const id of VIEWS) if (at(id)) at(id).hidden = id !== name;
  at("leave").hidden = name === "overview";
};

const look = async () => {
  clearTimeout(timer);
  try {
    tests = await get("blind");
    for (const test of tests) if (test.id) outboxOf(test.id); // which sends what waits; an ended test refuses it in words
    draw();
  } catch (error) {
    if (error.status) at("tests").replaceChildren(make("p", { class: "quiet" }, ...spoken(error.message)));
  }
  if (!document.hidden && !chosen()[0]) timer = setTimeout(look, EVERY_MS);
};

let drawn = "";
const draw = () => {
  const now = JSON.stringify(tests);
  if (now === drawn) return; // so that the focus stays
  drawn = now;
  const none = isOwner ? "There is no blind test yet." : "There is no blind test yet. The owner of the studio makes one.";
  at("tests").replaceChildren(...(tests.length ? tests.map(card) : [make("p", { class: "quiet" }, none)]));
};

const card = (test) => {
  if (test.fault) return make("article", { class: "card job" }, make("strong", {}, test.question), make("p", { class: "sentence" }, ...spoken(test.fault)));
  const state = test.ended ? ["✓", "Ended"] : test.answered >= test.trials ? ["✓", "Answered"] : ["▶", "Open"];
  const title = isOwner ? `${test.b} against ${test.a}` : test.question;
  const link = (view, words, kind) => make("a", { class: `button small ${kind}`, href: `#${view}=${test.id}` }, words);
  const end = make("button", { class: "small", type: "button", disabled: !test.raters.length, on: { click: () => ask(test) } }, "End and reveal");
  return make("article", { class: "card job" },
    make("div", { class: "row" }, make("strong", {}, title), make("span", { class: "state", "data-state": test.ended ? "done" : "running" }, make("span", { "aria-hidden": "true" }, state[0]), ` ${state[1]}`),
      make("span", { class: "quiet" }, ago(test.made_at))),
    isOwner ? make("p", { class: "quiet sentence" }, `${test.duel}: ${test.question}`) : null,
    isOwner && test.stop === "sequential" ? make("p", { class: "quiet" }, "It ends by itself as soon as it can be told which is preferred.") : null,
    make("p", { class: "quiet" }, `You have answered ${number(test.answered)} of ${number(test.trials)}.`),
    isOwner && test.raters.length ? make("ul", { class: "facts" }, ...test.raters.map((one) => make("li", {}, `${one.rater}: ${number(one.answered)} of ${number(test.trials)}`))) : null,
    make("div", { class: "row" },
      !test.ended && test.answered < test.trials ? link("test", test.answered ? "Continue" : "Begin", "main") : null,
      isOwner && !test.ended ? end : null,
      isOwner && test.ended ? link("result", "Result", "main") : null));
};

// Ask whether a test is to end, then end it and show its result.
const ask = async (test, keepCareless = false, why = "") => {
  const done = test.raters.filter((one) => one.answered >= test.trials).length;
  const about = why || `${number(done)} of ${number(test.raters.length)} raters who began have answered all pairs. No answer counts after the end.`;
  if (!(await sure("End this test?", [about], keepCareless ? "Count them all the same" : "End and reveal"))) return;
  try {
    await post(`blind/${test.id}/end`, { keep_careless: keepCareless });
    location.hash = `result=${test.id}`;
  } catch (error) {
    if (error.code === "human-all-careless" && !keepCareless) await ask(test, true, "All raters contradict themselves in more than half of their repeats.");
    else tell(error.message);
  }
};

const route = async () => {
  const [what, id] = chosen();
  sitting?.close();
  sitting = null;
  await look();
  const test = tests.find((one) => one.id === id);
  setSubject("");
  if (!what || (what === "result" && !isOwner)) return view("overview");
  if (!test) {
    tell("There is no such blind test.");
    location.hash = "";
    return undefined;
  }
  if (what === "result") {
    try {
      showResult(await get(`blind/${id}/result`));
      view("result");
      at("preferred").focus({ preventScroll: true });
    } catch (error) {
      tell(error.message);
      view("overview");
    }
    return undefined;
  }
  view("trial");
  sitting = new Sitting(test, (isEnded) => {
    if (isEnded) tell("This blind test has ended.");
    view("done");
    at("thanks").focus({ preventScroll: true });
  });
  return undefined;
};

const home = () => { location.hash = ""; };
const undo = () => {
  if (!sitting?.undo()) return;
  view("trial");
};
const KEYS = { 1: () => sitting.choose("left"), 2: () => sitting.choose("right"), 0: () => sitting.choose("tie"), u: undo, Backspace: undo };
document.addEventListener("keydown", (event) => {
  const key = event.key.length === 1 ? event.key.toLowerCase() : event.key;
  if (!sitting || event.ctrlKey || event.metaKey || event.altKey) return;
  if (event.repeat) {
    if (KEYS[key] || key === "Enter" || key === " ") event.preventDefault(); // a held key is one press, on buttons too
    return;
  }
  if (!KEYS[key]) return;
  KEYS[key]();
  event.preventDefault();
});
for (const [id, choice] of [["choose-left", "left"], ["choose-right", "right"], ["tie", "tie"]]) at(id).addEventListener("click", () => sitting?.choose(choice));
at("undo").addEventListener("click", undo);
at("done-undo").addEventListener("click", undo);
at("leave").addEventListener("click", home);
at("done-back").addEventListener("click", home);
// a click leaves no focus behind, so that Enter does not choose for the next pair
document.addEventListener("click", (event) => { if (event.detail) event.target.closest("#trial button")?.blur(); });

if (isOwner) new NewTest(look).load();
addEventListener("hashchange", route);
document.addEventListener("visibilitychange", () => {
  sitting?.look(!document.hidden);
  if (!document.hidden && !chosen()[0]) look();
});
route();
