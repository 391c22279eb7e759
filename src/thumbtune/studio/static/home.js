// Home: four steps, with their state and what to do next.

import { get } from "./api.js";
import { number } from "./element.js";
import { onCounts, refresh } from "./shell.js";
import "./home_demo.js";
import "./home_doctor.js";

const at = (id) => document.getElementById(id);
const GOAL = 50;
let run = null; // the newest run with a result
let policy = null; // {policy, likes, dislikes} of the chosen label policy, where several people rate
let known = ""; // the counts that it was asked for
const plural = (count, one) => `${number(count)} ${count === 1 ? one : `${one}s`}`;

let placed = false;

// Put the demo first for who has no images yet, once: what has the focus must not move.
const place = (isNew) => {
  if (placed) return;
  placed = true;
  document.body.classList.toggle("new", isNew);
  if (isNew) document.querySelector(".steps").before(at("beside"));
};

const draw = (counts) => {
  const { images, likes, dislikes, left } = counts;
  const trained = policy ?? counts; // what training sees
  ask(`${likes} ${dislikes}`);
  at("state-images").textContent = images ? plural(images, "image") : "No images yet";
  at("state-judge").textContent = images ? `${plural(likes, "like")}, ${plural(dislikes, "dislike")}, ${number(left)} left` : "Nothing to judge yet";
  place(!images);
  const missing = [[GOAL - trained.likes, "like"], [GOAL - trained.dislikes, "dislike"]].filter(([count]) => count > 0);
  const enough = !missing.length;
  const togo = enough ? "Enough votes" : `${missing.map(([count, one]) => plural(count, one)).join(" and ")} to go`;
  const seen = policy ? ` (${policy.policy} of all raters: ${plural(policy.likes, "like")}, ${plural(policy.dislikes, "dislike")})` : "";
  at("state-train").textContent = run ? `${run.name} is trained` : `${togo}${seen}`;
  const next = !images ? "images" : run ? "compare" : enough ? "train" : left ? "judge" : "images";
  for (const name of ["images", "judge", "train", "compare"]) {
    at(`step-${name}`).classList.toggle("next", name === next);
    at(`step-${name}`).querySelector(".button")?.classList.toggle("main", name === next);
  }
};

// Ask for what training sees of all raters' votes, when they have changed.
const ask = async (counts) => {
  if (counts === known) return;
  known = counts;
  try {
    const raters = await get("raters");
    if (raters.length < 2) return;
    const { chosen, policies } = await get("label-policies");
    policy = policies.find((one) => one.policy === chosen) ?? null;
    refresh();
  } catch { /* the rater's own counts stay */ }
};

get("runs").then((runs) => {
  run = runs.find((one) => one.finished) ?? null;
  if (!run) return;
  at("state-compare").textContent = run.verdict ? `${run.name}: ${run.verdict}` : `${run.name} is not evaluated yet`;
  at("command-compare").textContent = `thumbtune evaluate runs/${run.name}`;
  at("to-compare").href = `/compare?run=${encodeURIComponent(run.name)}`;
  refresh();
}).catch(() => {});
get("agreement").then(({ repeats, agreed }) => {
  if (repeats) at("agreement").textContent = `You judged ${plural(repeats, "image")} again unannounced, ${number(agreed)} of them alike.`;
}).catch(() => {});
onCounts(draw);
