// The doctor of Home: what this machine has, measured once and kept, and again at a click.

import { get, post } from "./api.js";
import { ago, make, say } from "./element.js";

const at = (id) => document.getElementById(id);

const lines = (findings, mark) => findings.map(({ text }) => make("li", {}, make("span", { "aria-hidden": "true" }, mark), make("span", {}, text)));

const draw = ({ findings, measured_at: when }) => {
  const bad = findings.filter(({ good }) => !good), good = findings.filter(({ good }) => good);
  const device = good.find(({ text }) => /^(GPU|no GPU)/.test(text));
  at("doctor-state").dataset.bad = String(bad.length > 0);
  at("doctor-state").textContent = bad.length
    ? `${bad.length} of ${findings.length} checks failed`
    : `All ${findings.length} checks are fine${device ? `; ${device.text}` : ""}`;
  at("bad").replaceChildren(...lines(bad, "!"));
  at("bad").hidden = !bad.length;
  at("good").replaceChildren(...lines(good, "✓"));
  at("fine").hidden = !good.length;
  at("doctor-when").textContent = `Measured ${ago(when)}`;
};

const measure = async () => {
  at("doctor-again").disabled = true;
  at("doctor-problem").textContent = "";
  at("doctor-state").textContent = "Looking at this machine …";
  try {
    draw(await post("doctor"));
  } catch (error) {
    at("doctor-state").textContent = "Not measured";
    say(at("doctor-problem"), error.message);
  }
  at("doctor-again").disabled = false;
};

at("doctor-again").addEventListener("click", measure);
get("doctor").then((found) => (found ? draw(found) : measure())).catch((error) => { say(at("doctor-problem"), error.message); });
