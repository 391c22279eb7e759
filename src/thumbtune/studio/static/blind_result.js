// The result of a blind test: the preference with its interval, the raters and the prompts.

import { copy, make, number, say, spoken } from "./element.js";
import { setSubject } from "./shell.js";

const at = (id) => document.getElementById(id);
const percent = (share) => `${(100 * share).toFixed(1)}%`;
const range = ({ low, high }) => `${percent(low)} to ${percent(high)}`;

const table = (id, heads, rows) => {
  at(id).replaceChildren(
    make("thead", {}, make("tr", {}, ...heads.map((head) => make("th", { scope: "col" }, head)))),
    make("tbody", {}, ...rows.map(([head, ...cells]) => make("tr", {}, make("th", { scope: "row" }, head), ...cells.map((cell) => make("td", {}, String(cell)))))),
  );
};

const drawScale = (rate, interval) => {
  at("reach").style.left = `${100 * interval.low}%`;
  at("reach").style.width = `${100 * (interval.high - interval.low)}%`;
  at("mark").style.left = `${100 * rate}%`;
};

// Return both models and the verdict in one line.
const headline = ({ a, b, overall, sequential }) => {
  const finding = sequential ? sequential.decided ?? "open" : overall.finding;
  return {
    a: `${a} is preferred to ${b}`, b: `${b} is preferred to ${a}`, equal: `${b} and ${a} are liked about equally`,
  }[finding] ?? `${b} against ${a}: not enough evidence`;
};

// Show a result, as the API gives it.
export const showResult = ({ result, files, command, unsaved }) => {
  const { overall, bias, raters, prompts, sentences, notes } = result;
  const { rate } = overall;
  const [first, ...rest] = sentences;
  at("preferred").textContent = headline(result);
  say(at("finding"), first);
  setSubject(`${result.b} against ${result.a}`);
  const { sequential } = result, decisive = sequential ? sequential.a + sequential.b : 0;
  if (decisive) drawScale(sequential.b / decisive, sequential.interval);
  else drawScale(rate.rate, overall.interval);
  const [left, , right] = at("ends").children;
  left.textContent = `A: ${result.a}`;
  right.textContent = `B: ${result.b}`;
  at("more").replaceChildren(...[...(unsaved ? [unsaved] : []), ...rest, ...notes].map((line) => make("li", {}, ...spoken(line))));
  const [b, tie, a] = overall.votes;
  const numbers = [
    ["B is preferred in", `${percent(rate.rate)}, 95% interval ${range(overall.interval)}; no preference counts half`],
    ["Wilson's interval", range(rate.wilson)],
    ["Sign test", `p = ${rate.sign_test < 0.001 ? rate.sign_test.toExponential(1) : rate.sign_test.toFixed(3)}, over ${number(rate.distinct)} prompts`],
    ["Votes", `${number(b)} for B, ${number(tie)} without preference, ${number(a)} for A`],
  ];
  if (sequential) {
    const told = sequential.decided ? `decided at prompt ${number(sequential.decided_at)}` : "has not decided";
    numbers.unshift(["Stopping rule", `${told}; evidence ${sequential.evidence.toPrecision(3)}, and 20 decides; ${number(sequential.b)} prompts for B, ${number(sequential.ties)} without preference, ${number(sequential.a)} for A`],
      ["At any time", `B is preferred on ${range(sequential.interval)} of prompts with a preference. The intervals below are those of a test whose length was fixed, and too narrow here.`]);
  }
  if (!sequential && overall.more_votes) numbers.push(["To decide", `about ${number(overall.more_votes)} more votes, on ${number(overall.more_prompts)} new prompts`]);
  if (bias) numbers.push(["Left image chosen", `${bias.left} of ${bias.left + bias.right} (${percent(bias.share)}, 95% interval ${range(bias.interval)})`]);
  at("numbers").replaceChildren(...numbers.flatMap(([name, value]) => [make("dt", {}, name), make("dd", {}, value)]));
  table("raters", ["Rater", "For B", "No preference", "For A", "Repeats kept", "Median seconds"], raters.map((rater) => [
    rater.counted ? rater.name : `${rater.name} (left out)`, rater.votes[0], rater.votes[1], rater.votes[2], `${rater.agreed} of ${rater.repeats}`, rater.seconds.toFixed(1)]));
  table("prompts", ["Prompt", "For B", "No preference", "For A"], prompts.map((row) => [row.words, row.b, row.tie, row.a]));
  at("files").replaceChildren(...files.map((file) => make("li", {}, make("a", { href: `/api/v1/blind/${result.study}/result/${file.split(".").at(-1)}`, download: "" }, make("code", {}, file)))));
  at("copy-read").onclick = () => copy(command, at("copy-read"));
};
