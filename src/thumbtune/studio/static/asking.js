// Questions before something begins: a dialog of its own, and the check of a job.

import { post } from "./api.js";
import { make, say, spoken } from "./element.js";
import { tell } from "./shell.js";

// Ask whether something is meant; return whether it is. Cancel has the focus: Enter that comes twice begins nothing.
export const sure = (title, sentences, yes) => new Promise((resolve) => {
  const dialog = make("dialog", { id: "sure", "aria-labelledby": "sure-title" },
    make("form", { method: "dialog" },
      make("h2", { id: "sure-title" }, title),
      ...sentences.map((sentence) => make("p", {}, ...spoken(sentence))),
      make("p", { class: "row" }, make("button", { value: "yes", class: "main", id: "sure-yes" }, yes), make("button", { value: "no", autofocus: true }, "Cancel"))));
  dialog.addEventListener("close", () => {
    dialog.remove();
    resolve(dialog.returnValue === "yes");
  });
  document.body.append(dialog);
  dialog.showModal();
});

// Return a function that does one thing at a time, so that a second click makes no second job, and says what went wrong.
export const askerOf = (problem) => {
  let isAsking = false;
  return async (act) => {
    if (isAsking) return;
    isAsking = true;
    try {
      await act();
      say(problem, "");
    } catch (error) {
      say(problem, error.message);
    } finally {
      isAsking = false;
    }
  };
};

// Check a job, tell its notes, ask its questions, and begin it. Returns the job, or null if it is not to begin.
export const beginJob = async (path, request, title, yes) => {
  const { notes, questions } = await post(`${path}/check`, request);
  for (const note of notes) tell(note);
  if (questions.length && !(await sure(title, questions, yes))) return null;
  return post(path, request);
};
