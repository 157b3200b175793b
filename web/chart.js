// A small line chart: times across, a number upwards. Drawn as SVG, so that it prints and scales.

import { clock, number } from "./words.js";

const SVG = "http://www.w3.org/2000/svg";
const [HEIGHT, LEFT, RIGHT, TOP, BOTTOM] = [160, 44, 8, 10, 22];

function svg(kind, attributes, content = "") {
  const made = document.createElementNS(SVG, kind);
  for (const [name, value] of Object.entries(attributes)) made.setAttribute(name, value);
  made.textContent = content;
  return made;
}

/** A round number at or above `value`, at least 1, that has a half: where the scale ends. */
function ceiling(value) {
  const unit = 10 ** Math.floor(Math.log10(Math.max(value, 1)));
  return [1, 2, 4, 6, 8, 10].map((step) => step * unit).find((step) => step >= value) ?? value;
}

/**
 * Draws `points` ([ms since 1970, number], times ascending) into `target`. `format` writes a number of the scale, `title`
 * is what a screen reader says before the last value, `spans` ([ms since 1970, ms since 1970]) are times when something
 * was wrong.
 */
export function draw(target, points, title, { format = number, spans = [] } = {}) {
  const width = Math.max(target.clientWidth, 320);
  const drawn = svg("svg", { viewBox: `0 0 ${width} ${HEIGHT}`, class: "chart", role: "img" });
  const last = points.at(-1);
  drawn.setAttribute("aria-label", last ? `${title}: now ${format(last[1])}, at most ${format(Math.max(...points.map(([, y]) => y)))}` : `${title}: nothing yet`);
  if (points.length > 1) plot(drawn, points, format, spans, width);
  target.replaceChildren(drawn);
}

function plot(drawn, points, format, spans, width) {
  const [from, to] = [points[0][0], points.at(-1)[0]];
  const most = ceiling(Math.max(...points.map(([, y]) => y)));
  const x = (at) => LEFT + ((at - from) / Math.max(to - from, 1)) * (width - LEFT - RIGHT);
  const y = (value) => HEIGHT - BOTTOM - (value / most) * (HEIGHT - TOP - BOTTOM);
  for (const value of [0, most / 2, most]) {
    drawn.append(svg("line", { class: "grid", x1: LEFT, x2: width - RIGHT, y1: y(value), y2: y(value) }));
    if (most > 1 || value !== most / 2) drawn.append(svg("text", { x: LEFT - 6, y: y(value) + 4, "text-anchor": "end" }, format(value)));
  }
  const path = points.map(([at, value], i) => `${i ? "L" : "M"}${x(at).toFixed(1)} ${y(value).toFixed(1)}`).join("");
  drawn.append(svg("path", { class: "area", d: `${path}L${x(to).toFixed(1)} ${y(0)}L${x(from).toFixed(1)} ${y(0)}Z` }));
  drawn.append(svg("path", { class: "line", d: path }));
  for (const [since, until] of spans) {
    const [left, right] = [since, until].map((at) => x(Math.min(Math.max(at, from), to)));
    drawn.append(svg("rect", { class: "wrong", x: left.toFixed(1), y: HEIGHT - BOTTOM, width: Math.max(right - left, 3).toFixed(1), height: 4 }));
  }
  for (const [at, anchor] of [[from, "start"], [to, "end"]]) {
    drawn.append(svg("text", { x: x(at), y: HEIGHT - 5, "text-anchor": anchor }, clock(at)));
  }
}
