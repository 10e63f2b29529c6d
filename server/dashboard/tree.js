// The last verified tree: root at the left, the path that the target took along the top, the branches it left below.
import { svg } from "./charts.js";
import { percent, tokenLabel } from "./format.js";
import { hideTip, showTip } from "./tip.js";

/** @typedef {import("../dashboard-feed.ts").FeedTree} FeedTree */
/** @typedef {{ text: string, kind: "root" | "accepted" | "bonus" | "rejected", prob?: number, parent: number, depth: number, row: number }} Cell */

const ROW = 34;
const PILL = 26;
const CHARACTER = 7.9;
const PADDING = 20;
const [LEAST_GAP, MOST_GAP] = [36, 90];
const EDGE = 6;

const WORDS = { root: "last token", accepted: "accepted", bonus: "sampled by the target", rejected: "not taken" };

export class TreeView {
  #root;
  #note;
  /** @type {FeedTree | undefined} */
  #pending;

  /** @param {HTMLElement} root @param {HTMLElement} note */
  constructor(root, note) {
    this.#root = root;
    this.#note = note;
    for (const type of ["pointerleave", "focusout"]) {
      root.addEventListener(type, () => {
        hideTip();
        if (this.#pending !== undefined) this.show(this.#pending);
      });
    }
  }

  /** Draws the tree, or keeps it for later while someone is reading the one that is drawn. @param {FeedTree} tree */
  show(tree) {
    if (this.#root.matches(":hover") || this.#root.contains(document.activeElement)) {
      this.#pending = tree;
      return;
    }
    this.#pending = undefined;
    const cells = layOut(tree);
    const accepted = cells.filter(({ kind }) => kind === "accepted");
    this.#note.textContent = `${accepted.length} of ${tree.nodes.length - 1} drafted tokens accepted`;
    this.#root.replaceChildren(draw(cells, this.#root.clientWidth));
  }
}

/** Cells in the order of the nodes, the bonus token last. @param {FeedTree} tree @returns {Cell[]} */
function layOut({ nodes, bonusText }) {
  /** @type {Cell[]} */
  const cells = nodes.map(({ text, parent, accepted, prob }, i) => {
    const kind = i === 0 ? "root" : accepted ? "accepted" : "rejected";
    return { text, kind, parent, depth: 0, row: 0, ...(i === 0 ? {} : { prob }) };
  });
  const lastOnPath = nodes.reduce((last, node, i) => (node.accepted ? i : last), 0);
  cells.push({ text: bonusText, kind: "bonus", parent: lastOnPath, depth: 0, row: 0 });

  // What the target took comes first, so the path stays in the top row; then the likeliest.
  const rank = (/** @type {Cell} */ cell) => (cell.kind === "rejected" ? (cell.prob ?? 0) : 2);
  let rows = 0;
  const place = (/** @type {number} */ index, /** @type {number} */ depth) => {
    const cell = /** @type {Cell} */ (cells[index]);
    cell.depth = depth;
    cell.row = rows;
    const children = cells.flatMap((child, i) => (child.parent === index ? [{ child, i }] : []));
    children.sort((a, b) => rank(b.child) - rank(a.child));
    children.forEach(({ i }, n) => {
      if (n > 0) rows += 1;
      place(i, depth + 1);
    });
  };
  place(0, 0);
  return cells;
}

/** @param {readonly Cell[]} cells @param {number} room width to fill, in px */
function draw(cells, room) {
  const pillWidth = (/** @type {Cell} */ { text }) => [...tokenLabel(text)].length * CHARACTER + PADDING;
  const numColumns = Math.max(...cells.map(({ depth }) => depth)) + 1;
  const widths = Array.from({ length: numColumns }, (_, d) =>
    Math.max(...cells.filter(({ depth }) => depth === d).map(pillWidth)),
  );
  const used = widths.reduce((sum, width) => sum + width, 2 * EDGE);
  const gap = Math.min(MOST_GAP, Math.max(LEAST_GAP, (room - used) / Math.max(1, numColumns - 1)));
  const left = widths.map((_, d) => EDGE + widths.slice(0, d).reduce((sum, width) => sum + width + gap, 0));
  const width = used + gap * (numColumns - 1);
  const height = (Math.max(...cells.map(({ row }) => row)) + 1) * ROW + 2 * EDGE;
  const x = (/** @type {Cell} */ { depth }) => left[depth] ?? 0;
  const y = (/** @type {Cell} */ { row }) => EDGE + row * ROW + ROW / 2;

  const edges = cells.slice(1).map((cell) => {
    const parent = /** @type {Cell} */ (cells[cell.parent]);
    const [x1, y1, x2, y2] = [x(parent) + pillWidth(parent), y(parent), x(cell), y(cell)];
    // The bend lies in the gap before the child, so that no edge crosses a pill of the parent's column.
    const bend = x2 - gap / 2;
    const d = y1 === y2 ? `M${x1} ${y1}H${x2}` : `M${x1} ${y1}H${x2 - gap}C${bend} ${y1} ${bend} ${y2} ${x2} ${y2}`;
    return svg("path", { class: `edge ${cell.kind}`, d, "stroke-width": 1.5 + 2 * (cell.prob ?? 1) });
  });
  const pills = cells.map((cell) => {
    const label = svg("text", { x: x(cell) + pillWidth(cell) / 2, y: y(cell) });
    label.textContent = tokenLabel(cell.text);
    const rect = svg("rect", { x: x(cell), y: y(cell) - PILL / 2, width: pillWidth(cell), height: PILL, rx: PILL / 2 });
    const group = svg(
      "g",
      { class: `node ${cell.kind}`, "aria-label": describe(cell).join(", "), role: "listitem", tabindex: -1 },
      [rect, label],
    );
    group.addEventListener("pointermove", (event) => {
      if (event instanceof PointerEvent) showTip(event.clientX, event.clientY, describe(cell));
    });
    group.addEventListener("pointerleave", hideTip);
    group.addEventListener("focus", () => {
      const box = group.getBoundingClientRect();
      showTip(box.right, box.bottom, describe(cell));
    });
    return group;
  });
  pills[0]?.setAttribute("tabindex", "0");
  const drawing = svg("svg", { width, height, role: "list", "aria-label": summary(cells) }, [...edges, ...pills]);
  drawing.addEventListener("keydown", (event) => {
    const from = pills.findIndex((pill) => pill === document.activeElement);
    const to = event instanceof KeyboardEvent ? neighbour(cells, from, event.key) : undefined;
    if (to === undefined) return;
    event.preventDefault();
    const pill = pills[to];
    if (pill instanceof SVGElement) pill.focus();
  });
  return drawing;
}

/** Where an arrow key leads: to the parent, the first child, or the nearest node above or below of the same depth. */
function neighbour(/** @type {readonly Cell[]} */ cells, /** @type {number} */ from, /** @type {string} */ key) {
  const cell = cells[from];
  if (cell === undefined) return undefined;
  const byRow = cells.map((other, i) => ({ ...other, i })).sort((a, b) => a.row - b.row);
  if (key === "ArrowLeft") return cell.parent >= 0 ? cell.parent : undefined;
  if (key === "ArrowRight") return byRow.find(({ parent }) => parent === from)?.i;
  const column = byRow.filter(({ depth }) => depth === cell.depth);
  if (key === "ArrowUp") return column.findLast(({ row }) => row < cell.row)?.i;
  return key === "ArrowDown" ? column.find(({ row }) => row > cell.row)?.i : undefined;
}

/** @param {Cell} cell */
function describe({ text, kind, prob, depth }) {
  const lines = [JSON.stringify(text), depth > 0 ? `${WORDS[kind]} · depth ${depth}` : WORDS[kind]];
  return prob === undefined ? lines : [...lines, `drafter's probability ${percent(prob)}`];
}

/** @param {readonly Cell[]} cells */
function summary(cells) {
  const path = cells.filter(({ kind }) => kind === "accepted").map(({ text }) => JSON.stringify(text));
  return `Verified tree of ${cells.length - 2} drafted tokens; accepted: ${path.join(" ") || "none"}; arrow keys move`;
}
