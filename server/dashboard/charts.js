// Charts over time, in SVG so that the style sheet colours them.
import { hideTip, showTip } from "./tip.js";

/** Seconds across a chart. */
export const SPAN_S = 180;

/** @typedef {import("../dashboard-feed.ts").FeedPoint} FeedPoint */
/** @typedef {{ name: string, label: string, value: (point: FeedPoint) => number }} Series `name` is a colour class. */

const SVG = "http://www.w3.org/2000/svg";

/** @param {string} tag @param {Record<string, string | number>} attributes @param {readonly Node[]} children */
export function svg(tag, attributes, children = []) {
  const element = document.createElementNS(SVG, tag);
  for (const [name, value] of Object.entries(attributes)) element.setAttribute(name, String(value));
  element.append(...children);
  return element;
}

/** The round number at or above `x` that the axis ends at. @param {number} x */
function niceCeiling(x) {
  const power = 10 ** Math.floor(Math.log10(x));
  return power * /** @type {number} */ ([1, 2, 3, 4, 5, 6, 8].find((step) => step * power >= x) ?? 10);
}

/**
 * A chart of series stacked on each other. A second where `isKnown` says no is a gap.
 * @param {string} id of the element that becomes the chart
 * @param {object} options
 * @param {string} options.label what the chart shows, for those who cannot see it
 * @param {readonly Series[]} options.series bottom first
 * @param {(x: number) => string} options.format
 * @param {number} options.leastMax the axis goes at least this far
 * @param {(point: FeedPoint) => boolean} [options.isKnown]
 * @returns {(points: readonly FeedPoint[]) => void} draws the points, the newest at the right edge
 */
export function timeChart(id, { label, series, format, leastMax, isKnown = () => true }) {
  const root = /** @type {HTMLElement} */ (document.getElementById(id));
  const areas = series.map(({ name }) => svg("path", { class: `area ${name}` }));
  const lines = series.map(({ name }) => svg("path", { class: `line ${name}` }));
  const cursor = svg("line", { class: "cursor", y1: 0, y2: 1, visibility: "hidden" });
  const half = svg("line", { class: "grid", x1: 0, x2: SPAN_S, y1: 0.5, y2: 0.5 });
  const plot = svg(
    "svg",
    { viewBox: `0 0 ${SPAN_S} 1`, preserveAspectRatio: "none", role: "img", "aria-label": label },
    // The lower a series, the later it is drawn: a series of zeros above it must not cover its line.
    [half, ...areas, ...lines.toReversed(), cursor],
  );
  const [top, middle] = [text("y-top", ""), text("y-middle", "")];
  root.append(plot, top, middle, text("x-first", "3 min ago"), text("x-last", "now"));
  if (series.length > 1) root.before(legend(series));

  /** @type {readonly FeedPoint[]} */
  let shown = [];
  plot.addEventListener("pointermove", (event) => {
    const { left, width } = plot.getBoundingClientRect();
    const last = shown.at(-1)?.second ?? 0;
    const second = last - SPAN_S + 1 + Math.floor(((event.clientX - left) / width) * SPAN_S);
    const point = shown.find((candidate) => candidate.second === second);
    if (point === undefined || !isKnown(point)) return leave();
    cursor.setAttribute("visibility", "visible");
    for (const end of ["x1", "x2"]) cursor.setAttribute(end, String(second - last + SPAN_S - 0.5));
    const values = series.map((one) => `${one.label}: ${format(one.value(point))}`);
    showTip(event.clientX, event.clientY, [`${last - second} s ago`, ...values]);
  });
  plot.addEventListener("pointerleave", leave);
  function leave() {
    cursor.setAttribute("visibility", "hidden");
    hideTip();
  }

  return (points) => {
    shown = points;
    const last = points.at(-1)?.second ?? 0;
    const stacks = points.map((point) => {
      let sum = 0;
      return {
        x: point.second - last + SPAN_S - 0.5,
        known: isKnown(point),
        tops: series.map((s) => (sum += s.value(point))),
      };
    });
    const max = niceCeiling(
      Math.max(leastMax, ...stacks.filter(({ known }) => known).map(({ tops }) => tops.at(-1) ?? 0)),
    );
    top.textContent = format(max);
    middle.textContent = format(max / 2);
    series.forEach((_, i) => {
      const runs = runsOf(stacks, (stack) => (stack.tops[i] ?? 0) / max);
      const floors = runsOf(stacks, (stack) => (stack.tops[i - 1] ?? 0) / max);
      lines[i]?.setAttribute("d", runs.map((run) => `M${run.join("L")}`).join(""));
      areas[i]?.setAttribute(
        "d",
        runs.map((run, r) => `M${[...run, ...(floors[r] ?? []).reverse()].join("L")}Z`).join(""),
      );
    });
  };
}

/**
 * Points of each unbroken run; its ends reach half a second further, so that a single second is seen too.
 * @template {{ x: number, known: boolean }} S
 * @param {readonly S[]} stacks @param {(stack: S) => number} height
 */
function runsOf(stacks, height) {
  /** @type {string[][]} */
  const runs = [];
  stacks.forEach((stack, i) => {
    if (!stack.known) return;
    const y = (1 - height(stack)).toFixed(4);
    if (!stacks[i - 1]?.known) runs.push([`${stack.x - 0.5} ${y}`]);
    runs.at(-1)?.push(`${stack.x} ${y}`);
    if (!stacks[i + 1]?.known) runs.at(-1)?.push(`${stack.x + 0.5} ${y}`);
  });
  return runs;
}

/** @param {readonly Series[]} series */
function legend(series) {
  const list = Object.assign(document.createElement("ul"), { className: "legend" });
  list.append(
    ...series.map(({ name, label }) =>
      Object.assign(document.createElement("li"), { className: name, textContent: label }),
    ),
  );
  return list;
}

/** @param {string} className @param {string} textContent */
function text(className, textContent) {
  return Object.assign(document.createElement("span"), { className: `axis ${className}`, textContent });
}
