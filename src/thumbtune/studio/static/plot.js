// Line plots as SVG: pure functions from rows to elements. Each line has a dash and a name, so colour is never alone.

import { make } from "./element.js";

const SVG = "http://www.w3.org/2000/svg";
const HEIGHT = 220;
const LEFT = 52, RIGHT = 10, TOP = 26, BOTTOM = 38; // of the axes' frame, in pixels; above and below it are the names of the axes
const MOST = 300; // points of a line: more than that are joined into means
const TICKS = 4;

const draw = (tag, attributes, ...children) => {
  const element = document.createElementNS(SVG, tag);
  for (const [name, value] of Object.entries(attributes)) element.setAttribute(name, value);
  element.append(...children);
  return element;
};

// Return the [step, value] pairs of a column, without those that a step lacks.
export const column = (rows, name) => rows.filter((row) => Number.isFinite(row[name])).map((row) => [row.step, row[name]]);

// Return an exponential mean of points, without the pull of its beginning towards zero (as in Adam).
export const smoothed = (points, weight = 0.9) => {
  let mean = 0;
  return points.map(([x, y], index) => {
    mean = weight * mean + (1 - weight) * y;
    return [x, mean / (1 - weight ** (index + 1))];
  });
};

// Return at most `most` points: the means of neighbours.
export const thinned = (points, most = MOST) => {
  if (points.length <= most) return points;
  const size = Math.ceil(points.length / most);
  const parts = [];
  for (let begin = 0; begin < points.length; begin += size) {
    const part = points.slice(begin, begin + size);
    parts.push([0, 1].map((place) => part.reduce((sum, point) => sum + point[place], 0) / part.length));
  }
  return parts;
};

// Return round numbers that cover a range, from below its least to above its greatest.
export const ticksOf = (low, high, count = TICKS) => {
  if (low === high) [low, high] = low === 0 ? [0, 1] : [low - Math.abs(low) / 2, high + Math.abs(high) / 2];
  const rough = (high - low) / count;
  const power = 10 ** Math.floor(Math.log10(rough));
  const step = power * [1, 2, 5, 10].find((factor) => factor * power >= rough);
  const first = Math.floor(low / step + 1e-9), last = Math.ceil(high / step - 1e-9);
  return Array.from({ length: last - first + 1 }, (_, index) => (first + index) * step);
};

// Return a number in few characters.
export const brief = (value) => {
  if (value === 0 || Math.abs(value) < 1e-12) return "0";
  if (Math.abs(value) < 1e-3 || Math.abs(value) >= 1e5) return value.toExponential(1).replace("e+", "e");
  return String(Number(value.toPrecision(3)));
};

// Return a figure with a plot of lines.
//   lines: [{ name, points: [[x, y]], kind: "plain" | "liked" | "disliked", smooth: whether a mean goes through it }]
//   unit:  what the values are, in words; the steps are below
//   mark:  a value with a thin line of its own, and its name, such as 0.5 "chance"
export const plot = ({ title, unit, lines, mark = null, width = 420, last = 1, none = "No number yet" }) => {
  const all = lines.flatMap((line) => line.points);
  const latest = lines.filter((line) => line.points.length).map((line) => `${line.name} ${brief(line.points.at(-1)[1])}`);
  const key = make("figcaption", {}, make("strong", {}, title),
    ...lines.map((line) => make("span", { class: "key" }, sample(line.kind), ` ${line.name}`,
      line.points.length ? make("b", {}, ` ${brief(line.points.at(-1)[1])}`) : "")));
  const svg = draw("svg", { viewBox: `0 0 ${width} ${HEIGHT}`, width, height: HEIGHT, role: "img", "aria-label": `${title}: ${latest.join(", ") || none}` });
  svg.append(draw("text", { class: "unit", x: 0, y: 12 }, unit), draw("text", { class: "unit", x: width - RIGHT, y: HEIGHT - 4, "text-anchor": "end" }, "step"));
  if (!all.length) { // an empty frame of the same size, so that nothing jumps when the first number comes
    svg.append(draw("rect", { class: "empty", x: LEFT, y: TOP, width: width - LEFT - RIGHT, height: HEIGHT - TOP - BOTTOM }),
      draw("text", { x: (LEFT + width - RIGHT) / 2, y: (TOP + HEIGHT - BOTTOM) / 2 + 4, "text-anchor": "middle" }, none));
    return make("figure", { class: "plot" }, key, svg);
  }
  const ys = [...all.map((point) => point[1]), ...(mark ? [mark.value] : [])];
  const ticks = ticksOf(Math.min(...ys), Math.max(...ys));
  const right = Math.max(last, all.reduce((most, point) => Math.max(most, point[0]), 1));
  const x = (step) => LEFT + ((width - LEFT - RIGHT) * step) / right;
  const y = (value) => TOP + ((HEIGHT - TOP - BOTTOM) * (ticks.at(-1) - value)) / (ticks.at(-1) - ticks[0]);
  const path = (points) => points.map(([step, value], index) => `${index ? "L" : "M"}${x(step).toFixed(1)} ${y(value).toFixed(1)}`).join("");
  for (const tick of ticks) {
    svg.append(draw("line", { class: "grid", x1: LEFT, x2: width - RIGHT, y1: y(tick), y2: y(tick) }),
      draw("text", { x: LEFT - 8, y: y(tick) + 4, "text-anchor": "end" }, brief(tick)));
  }
  for (const step of ticksOf(0, right).filter((each) => each <= right)) {
    svg.append(draw("text", { x: x(step), y: HEIGHT - BOTTOM + 16, "text-anchor": "middle" }, brief(step)));
  }
  if (mark) {
    svg.append(draw("line", { class: "mark", x1: LEFT, x2: width - RIGHT, y1: y(mark.value), y2: y(mark.value) }),
      draw("text", { x: LEFT + 4, y: y(mark.value) + (y(mark.value) < 2 * TOP ? 13 : -5) }, mark.name));
  }
  for (const { points, kind, smooth } of lines) {
    const few = thinned(points);
    if (smooth && points.length > 5) svg.append(draw("path", { class: `raw ${kind}`, d: path(few) }));
    svg.append(draw("path", { class: `line ${kind}`, d: path(smooth ? thinned(smoothed(points)) : few) }));
    if (points.length === 1 || !smooth) for (const [step, value] of few) svg.append(draw("circle", { class: kind, cx: x(step), cy: y(value), r: 2.5 }));
  }
  return make("figure", { class: "plot" }, key, svg);
};

const sample = (kind) => draw("svg", { width: 22, height: 8, "aria-hidden": "true" },
  draw("path", { class: `line ${kind}`, d: "M1 4H21" }));
