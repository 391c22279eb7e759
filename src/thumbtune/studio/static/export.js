// Export: the files of a run, its card, a merged model, and the feedback; a job writes what is large.

import { get, post } from "./api.js";
import { askerOf } from "./asking.js";
import { copy, make, say } from "./element.js";
import { JobList } from "./job_list.js";

const at = (id) => document.getElementById(id);
const UNITS = ["bytes", "KB", "MB", "GB"];

// Return a number of bytes in words.
const size = (bytes) => {
  const place = Math.min(UNITS.length - 1, Math.floor(Math.log10(Math.max(1, bytes)) / 3));
  return `${place ? (bytes / 1000 ** place).toFixed(1) : bytes} ${UNITS[place]}`;
};

const sizes = new Map(); // of what jobs wrote, by their numbers

// Return a link to what a job wrote, with its size.
const download = (job) => {
  if (job.state !== "done") return null;
  const told = make("span", { class: "quiet" });
  const tell = ({ bytes }) => { told.textContent = size(bytes); };
  if (!sizes.has(job.id)) sizes.set(job.id, get(`jobs/${job.id}/written`));
  sizes.get(job.id).then(tell).catch(() => sizes.delete(job.id));
  const words = { class: "button small", href: `/api/v1/jobs/${job.id}/download`, download: "", "aria-label": `Download ${job.name}` };
  return make("span", { class: "row" }, make("a", words, "Download"), told);
};
const merges = new JobList(at("merges"), "merge", { link: download });
const exported = new JobList(at("exports"), "export", { link: download, empty: "Nothing was exported yet." });

// Let a form start a job, or copy its command.
const jobOf = (kind, request, list) => {
  const ask = askerOf(at(`${kind}-problem`));
  at(kind).addEventListener("submit", (event) => {
    event.preventDefault();
    ask(async () => { await post(`jobs/${kind}`, request()); await list.look(); });
  });
  at(`${kind}-copy`).addEventListener("click", () => ask(async () => copy((await post(`jobs/${kind}/check`, request())).command, at(`${kind}-copy`))));
};
jobOf("merge", () => ({ run: at("which").value, form: at("merge-form").value, half: at("merge-half").checked }), merges);
jobOf("export", () => ({ form: at("form").value, policy: at("policy").value || null, names: at("names").checked }), exported);

const show = async () => {
  const name = at("which").value;
  at("chosen").hidden = !name;
  if (!name) return;
  const run = `runs/${encodeURIComponent(name)}/result`;
  const { files, card } = await get(run);
  if (name !== at("which").value) return; // another one was chosen meanwhile
  at("files").replaceChildren(...files.map((file) => make("li", {},
    make("span", { class: "about" }, file.about, make("code", {}, file.name)),
    make("span", { class: "quiet" }, size(file.bytes)),
    make("a", { class: "button small", href: `/api/v1/${run}/${encodeURIComponent(file.name)}`, download: "", "aria-label": `Download ${file.name}` }, "Download"))));
  at("card").textContent = card || "This run has no card yet.";
};

const fill = async () => {
  try {
    const runs = (await get("runs")).filter((run) => run.finished);
    at("which").replaceChildren(...runs.map((run) => make("option", { value: run.name }, run.name)));
    const wanted = new URLSearchParams(location.search).get("run");
    if (runs.some((run) => run.name === wanted)) at("which").value = wanted;
    at("none").hidden = runs.length > 0;
    await show();
  } catch (error) {
    say(at("merge-problem"), error.message);
  }
};
at("which").addEventListener("change", show);
fill();
merges.look();
exported.look();
