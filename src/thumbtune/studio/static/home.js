// Home: four steps, with their state and what to do next.

import { get } from "./api.js";
import "./home_demo.js";
import "./home_doctor.js";

const at = (id) => document.getElementById(id);
const GOAL = 50;
const plural = (number, one) => `${number.toLocaleString("en-US")} ${number === 1 ? one : `${one}s`}`;

let placed = false;

// Put the demo first for who has no images yet, once: what has the focus must not move.
const place = (isNew) => {
  if (placed) return;
  placed = true;
  document.body.classList.toggle("new", isNew);
  if (isNew) document.querySelector(".steps").before(at("beside"));
};

document.addEventListener("counts", ({ detail }) => {
  const { images, likes, dislikes, left } = detail;
  at("state-images").textContent = images ? plural(images, "image") : "No images yet";
  at("state-judge").textContent = images ? `${plural(likes, "like")}, ${plural(dislikes, "dislike")}, ${left.toLocaleString("en-US")} left` : "Nothing to judge yet";
  place(!images);
  const missing = [[GOAL - likes, "like"], [GOAL - dislikes, "dislike"]].filter(([number]) => number > 0);
  const enough = !missing.length;
  at("state-train").textContent = enough ? "Enough votes" : `${missing.map(([number, one]) => plural(number, one)).join(" and ")} to go`;
  const next = !images ? "images" : enough ? "train" : left ? "judge" : "images";
  for (const name of ["images", "judge", "train"]) {
    at(`step-${name}`).classList.toggle("next", name === next);
    at(`step-${name}`).querySelector(".button")?.classList.toggle("main", name === next);
  }
});

get("agreement").then(({ repeats, agreed }) => {
  if (repeats) at("agreement").textContent = `You judged ${plural(repeats, "image")} again unannounced, ${agreed.toLocaleString("en-US")} of them alike.`;
}).catch(() => {});
