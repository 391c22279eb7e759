// The door: go on once signed in, or sign in with a link or a token.

import { post } from "./api.js";
import { say } from "./element.js";

if (document.body.dataset.signedIn === "yes") {
  location.replace("/");
} else {
  const token = document.getElementById("token");
  const problem = document.getElementById("problem");
  document.getElementById("door").addEventListener("submit", async (event) => {
    event.preventDefault();
    const given = token.value.trim();
    try {
      await post("session", { token: given.match(/[?&]token=([\w-]+)/)?.[1] ?? given.slice(0, 200) });
      location.replace("/");
    } catch (error) {
      say(problem, error.message);
      token.select();
    }
  });
}
