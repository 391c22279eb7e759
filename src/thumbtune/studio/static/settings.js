// Settings: the theme and the keys of this browser; for the owner also raters, label policies, a copy, and what runs here.

import { person } from "./api.js";
import "./settings_keys.js";

const at = (id) => document.getElementById(id);
const YEAR = 365 * 24 * 60 * 60;
const THEME = "thumbtune-theme"; // a cookie, so that a page comes in its colours (pages.py)

at("theme").addEventListener("change", ({ target }) => {
  const theme = target.value;
  document.cookie = `${THEME}=${theme}; path=/; max-age=${theme ? YEAR : 0}; samesite=strict`;
  if (theme) document.documentElement.dataset.theme = theme;
  else delete document.documentElement.dataset.theme;
  document.querySelector("meta[name=color-scheme]").content = theme || "light dark";
});

if (person.role === "owner") import("./settings_owner.js"); // a rater has no part of it
