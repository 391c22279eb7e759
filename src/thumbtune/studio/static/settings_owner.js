// The owner's part of Settings: raters, label policies, a copy of the votes, and what runs here.

import { get, post } from "./api.js";
import { make, number, say } from "./element.js";
import "./settings_raters.js";

const at = (id) => document.getElementById(id);
const WORDS = {
  majority: "what most raters chose; a tie counts for nothing", unanimous: "only where all agree",
  "any-dislike": "a dislike if anybody dislikes it", "per-vote": "each vote is a label of its own",
};

const choose = async (policy) => {
  try {
    at("policy-problem").textContent = "";
    draw(await post("label-policies", { policy }));
    at("policies").querySelector("input:checked")?.focus();
  } catch (error) {
    say(at("policy-problem"), error.message);
  }
};

const draw = ({ chosen, policies }) => {
  const all = policies.some(({ policy }) => policy === chosen) ? policies : [...policies, { policy: chosen, likes: 0, dislikes: 0, undecided: 0 }];
  at("policies").replaceChildren(...all.map(({ policy, likes, dislikes, undecided }, place) => {
    const pick = make("input", { type: "radio", name: "policy", id: `policy-${place}`, value: policy, checked: policy === chosen, on: { change: () => choose(policy) } });
    const about = WORDS[policy] ?? "the votes of one rater";
    return make("tr", {},
      make("td", {}, make("label", { class: "pick", for: pick.id }, pick, make("span", {}, make("b", {}, policy), make("span", { class: "quiet" }, ` ${about}`)))),
      make("td", { class: "number" }, number(likes)), make("td", { class: "number" }, number(dislikes)), make("td", { class: "number" }, number(undecided)));
  }));
  at("policy-command").textContent = `thumbtune train --set ${/^[\w:.-]+$/.test(chosen) ? `label_policy=${chosen}` : `'label_policy=${chosen.replaceAll("'", "'\\''")}'`}`;
};

const tell = (about) => {
  const { versions, store, images, root, folder } = about;
  const facts = { Store: store, Images: images, "Work folder": root ?? "none (--root)", "Studio's folder": folder, ...versions };
  at("about").replaceChildren(...Object.entries(facts).flatMap(([name, value]) => [make("dt", {}, name), make("dd", {}, value)]));
  at("backup-command").textContent = about.backup;
  at("backup-here").hidden = about.on_server;
  say(at("backup-about"), about.on_server
    ? "The store is on a server, which makes its own copies: the prompts, all votes with the names of their raters, and the jobs."
    : "One file with the prompts, all votes with the names of their raters, and the jobs, made while others go on judging.");
  say(at("backup-without"), `Not in it are the images: copy \`${images}\` too. Nor are the list of raters and their links, the chosen label policy, blind tests with their answers, and logs: copy \`${folder}\`, and keep that copy secret, since its key makes the links.`);
  say(at("backup-back"), about.on_server ? "In a terminal:" : `To go back to the copy, end the studio, remove \`${store}\` with its -wal and -shm, and put the copy in its place. The same copy in a terminal:`);
};

get("label-policies").then(draw).catch((error) => { say(at("policy-problem"), error.message); });
get("about").then(tell).catch((error) => { say(at("backup-about"), error.message); });
