// The raters of Settings: add one, show a link, make another one, remove one.

import { get, person, post } from "./api.js";
import { copy, make, say } from "./element.js";
import { tell } from "./shell.js";
import { sure } from "./asking.js";

const at = (id) => document.getElementById(id);
const LOOPBACK = /^(localhost|127\.\d+\.\d+\.\d+|\[::1\])$/;
const shown = new Map(); // ids -> links that are on the page

const problem = (sentence = "") => { say(at("raters-problem"), sentence); };

// Do something with the studio; what it refuses becomes a sentence.
const ask = async (act) => {
  problem();
  try {
    return await act();
  } catch (error) {
    problem(error.message);
    return null;
  }
};

const show = ({ id }, { path }) => {
  shown.set(id, `${location.origin}${path}`);
  return look(id);
};

const renew = async (rater) => {
  const about = `The link of before ends at once, and so does each browser that it signed in${rater.name === person.rater ? ", but for this one" : ""}.`;
  if (!(await sure(`Make a new link for ${rater.name}?`, [about], "Make a new link"))) return;
  await ask(async () => show(rater, await post(`raters/${rater.id}/link`)));
};

const remove = async (rater) => {
  const about = "Their link and their browsers are signed out at once. Their votes stay; `thumbtune likes erase` deletes those.";
  if (!(await sure(`Remove ${rater.name}?`, [about], "Remove"))) return;
  await ask(async () => {
    draw(await post(`raters/${rater.id}/remove`));
    tell(`${rater.name} is no rater any more.`);
    at("name").focus();
  });
};

const linkOf = (rater) => {
  const link = shown.get(rater.id);
  if (!link) return null;
  const button = make("button", { class: "small", type: "button", "aria-label": `Copy the link of ${rater.name}` }, "Copy");
  button.addEventListener("click", () => copy(link, button));
  return make("div", { class: "link" }, make("input", { readOnly: true, value: link, "aria-label": `Link of ${rater.name}`, on: { focus: ({ target }) => target.select() } }), button);
};

const row = (rater) => {
  const toggle = async () => {
    if (shown.delete(rater.id)) return look(rater.id);
    return ask(async () => show(rater, await get(`raters/${rater.id}/link`)));
  };
  const button = (words, label, act) => make("button", { class: "small", type: "button", "aria-label": `${label} ${rater.name}`, on: { click: act } }, words);
  const about = rater.role === "owner" ? "owner" : rater.named === "page" ? "added here" : "named with --rater";
  return make("li", { "data-rater": rater.id },
    make("div", { class: "row" }, make("strong", {}, rater.name), make("span", { class: "quiet" }, about),
      make("span", { class: "actions" },
        button(shown.has(rater.id) ? "Hide link" : "Show link", shown.has(rater.id) ? "Hide the link of" : "Show the link of", toggle),
        button("New link", "New link for", () => renew(rater)),
        rater.named === "page" ? button("Remove", "Remove", () => remove(rater)) : null)),
    linkOf(rater));
};

const draw = (raters) => {
  for (const id of shown.keys()) if (!raters.some((rater) => rater.id === id)) shown.delete(id);
  at("raters").replaceChildren(...raters.map(row));
  at("alone").hidden = !LOOPBACK.test(location.hostname);
};

// Draw the list again; the first button of a rater gets the focus back.
const look = async (focus = null) => {
  draw(await get("raters"));
  if (focus) at("raters").querySelector(`[data-rater="${focus}"] button`)?.focus();
};

at("add").addEventListener("submit", (event) => {
  event.preventDefault();
  ask(async () => {
    const rater = await post("raters", { name: at("name").value });
    at("name").value = "";
    await show(rater, await get(`raters/${rater.id}/link`));
  });
});
ask(() => look());
