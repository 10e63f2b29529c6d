/** A line: points in any order of x. */
export interface Series {
  readonly name: string;
  readonly points: readonly (readonly [x: number, y: number])[];
}

const WIDTH = 900;
const HEIGHT = 460;
const PLOT = { left: 70, right: 640, top: 40, bottom: 400 } as const;
const LEGEND_STEP = 18;
/** Okabe and Ito's palette: distinct for colour-blind readers, on light and dark grounds. */
const COLOURS = ["#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9", "#888888"];
const DASHES = ["none", "6 3", "2 3"];

/** How both axes are divided: by powers of two, or from 0 to 1. */
export type AxisScale = "log" | "share";

/** A plot of lines, as the text of an SVG file. On logarithmic axes coordinates are above 0, on the others at most 1. @throws RangeError where there is nothing to draw */
export function linePlot(
  axes: { readonly title: string; readonly x: string; readonly y: string; readonly scale?: AxisScale },
  series: readonly Series[],
): string {
  const points = series.flatMap((line) => line.points);
  if (points.length === 0) throw new RangeError("no point to draw");
  const scale = axes.scale === "share" ? shareScale : logScale;
  const x = scale(
    points.map(([value]) => value),
    PLOT.left,
    PLOT.right,
  );
  const y = scale(
    points.map(([, value]) => value),
    PLOT.bottom,
    PLOT.top,
  );
  const legendBottom = PLOT.top + LEGEND_STEP * series.length + 10;
  return [
    `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 ${WIDTH} ${Math.max(HEIGHT, legendBottom)}" font-family="sans-serif" font-size="12">`,
    `<rect width="100%" height="100%" fill="white"/>`,
    text((PLOT.left + PLOT.right) / 2, 22, axes.title, "middle"),
    text((PLOT.left + PLOT.right) / 2, HEIGHT - 20, axes.x, "middle"),
    `<g transform="rotate(-90 18 220)">${text(18, 220, axes.y, "middle")}</g>`,
    ...x.ticks.flatMap((value) => [
      path(
        [
          [x.at(value), PLOT.top],
          [x.at(value), PLOT.bottom],
        ],
        "#ddd",
        "none",
      ),
      text(x.at(value), PLOT.bottom + 18, x.label(value), "middle"),
    ]),
    ...y.ticks.flatMap((value) => [
      path(
        [
          [PLOT.left, y.at(value)],
          [PLOT.right, y.at(value)],
        ],
        "#ddd",
        "none",
      ),
      text(PLOT.left - 8, y.at(value) + 4, y.label(value), "end"),
    ]),
    ...series.flatMap(({ name, points }, i) => {
      const colour = COLOURS[i % COLOURS.length] ?? "black";
      const dash = DASHES[Math.floor(i / COLOURS.length) % DASHES.length] ?? "none";
      const sorted = points.toSorted(([a], [b]) => a - b).map(([a, b]) => [x.at(a), y.at(b)] as const);
      const legend = PLOT.top + LEGEND_STEP * i;
      return [
        path(sorted, colour, dash),
        ...sorted.map(([cx, cy]) => `<circle cx="${round(cx)}" cy="${round(cy)}" r="3" fill="${colour}"/>`),
        path(
          [
            [PLOT.right + 15, legend],
            [PLOT.right + 40, legend],
          ],
          colour,
          dash,
        ),
        text(PLOT.right + 46, legend + 4, name, "start"),
      ];
    }),
    "</svg>\n",
  ].join("\n");
}

/** From values to coordinates, with a tick at every power of two that covers the values. */
function logScale(values: readonly number[], from: number, to: number) {
  const first = Math.floor(Math.log2(Math.min(...values)));
  const last = Math.max(first + 1, Math.ceil(Math.log2(Math.max(...values))));
  const ticks = Array.from({ length: last - first + 1 }, (_, i) => 2 ** (first + i));
  const at = (value: number) => from + ((Math.log2(value) - first) / (last - first)) * (to - from);
  return { ticks, at, label: (value: number) => (value >= 1 ? String(value) : `1/${1 / value}`) };
}

/** From shares to coordinates, with a tick at every fifth. */
function shareScale(_values: readonly number[], from: number, to: number) {
  const ticks = [0, 1, 2, 3, 4, 5].map((i) => i / 5);
  return { ticks, at: (value: number) => from + value * (to - from), label: String };
}

function path(points: readonly (readonly [number, number])[], colour: string, dash: string): string {
  const places = points.map(([x, y]) => `${round(x)},${round(y)}`).join(" ");
  return `<polyline points="${places}" fill="none" stroke="${colour}" stroke-dasharray="${dash}"/>`;
}

function text(x: number, y: number, content: string, anchor: "start" | "middle" | "end"): string {
  const escaped = content.replaceAll("&", "&amp;").replaceAll("<", "&lt;");
  return `<text x="${round(x)}" y="${round(y)}" text-anchor="${anchor}">${escaped}</text>`;
}

function round(value: number): string {
  return value.toFixed(1);
}
