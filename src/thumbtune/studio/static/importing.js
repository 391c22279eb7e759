// Import a folder: choose it, look at what would be imported, import it.

import { get, post } from "./api.js";
import { refresh, tell } from "./shell.js";
import { number, say } from "./element.js";

const at = (id) => document.getElementById(id);
const dialog = at("import");
let folder = null;

const row = (name, count) => {
  const line = document.createElement("tr");
  line.append(
    Object.assign(document.createElement("th"), { scope: "row", textContent: name }),
    Object.assign(document.createElement("td"), { textContent: number(count) }),
  );
  return line;
};

const problem = (sentence = "") => { say(at("import-problem"), sentence); };

const choose = async (id) => {
  problem();
  try {
    const found = await get(`folders?${new URLSearchParams({ folder: id })}`);
    folder = found.folder;
    at("import-here").textContent = folder.relative === "." ? folder.name : folder.relative;
    at("import-up").hidden = found.parent === null;
    at("import-up").value = found.parent ?? "";
    at("import-images").textContent = folder.images ? `${folder.images === 1000 ? "1,000 or more" : folder.images} images lie right in it.` : "";
    at("import-folders").replaceChildren(...found.folders.map((one) => {
      const button = Object.assign(document.createElement("button"), { type: "button", value: one.id, className: "folder" });
      const name = Object.assign(document.createElement("span"), { textContent: one.name });
      const count = Object.assign(document.createElement("span"), { className: "quiet", textContent: one.images ? `${one.images}` : "" });
      button.append(name, count);
      button.addEventListener("click", () => choose(one.id));
      return button;
    }));
    stale();
  } catch (error) {
    problem(error.message);
    at("import-check").disabled = true;
  }
};

// A dry run is of these settings; others need another one.
const stale = () => {
  at("import-report").hidden = true;
  at("import-go").hidden = true;
  at("import-check").hidden = false;
  at("import-check").disabled = !folder;
};

const run = async (isDry) => {
  problem();
  const button = at(isDry ? "import-check" : "import-go");
  const name = button.textContent;
  button.disabled = true;
  button.textContent = isDry ? "Reading …" : "Importing …";
  try {
    const body = { folder: folder.id, labels: at("import-labels").value, prompt: at("import-prompt").value, dry_run: isDry };
    const report = await post("imports", body);
    at("import-numbers").replaceChildren(
      row("Images read", report.rows),
      row("New", report.new),
      ...(body.labels === "unrated" ? [] : [row("of these, likes", report.likes), row("of these, dislikes", report.dislikes)]),
      row("In the store before", report.known),
      row("Left out", report.left_out),
    );
    at("import-skipped").replaceChildren(...report.skipped.map((one) => Object.assign(document.createElement("li"), { textContent: `${one.where}: ${one.why}` })));
    at("import-why").hidden = !report.skipped.length;
    at("import-command").textContent = report.command;
    at("import-report").hidden = false;
    if (isDry) {
      at("import-check").hidden = true;
      at("import-go").hidden = false;
      at("import-go").disabled = !report.new;
      at("import-go").focus();
    } else {
      dialog.close();
      tell(`${number(report.new)} imported.`);
      refresh();
      document.dispatchEvent(new CustomEvent("imported"));
    }
  } catch (error) {
    problem(error.message);
  } finally {
    button.textContent = name;
    if (isDry) button.disabled = false;
  }
};

const open = () => {
  dialog.showModal();
  choose("");
};
at("import-open").addEventListener("click", open);
at("import-up").addEventListener("click", (event) => choose(event.currentTarget.value));
at("import-close").addEventListener("click", () => dialog.close());
at("import-check").addEventListener("click", () => run(true));
at("import-go").addEventListener("click", () => run(false));
at("import-labels").addEventListener("change", stale);
at("import-prompt").addEventListener("input", stale);
if (location.hash === "#import") open();
