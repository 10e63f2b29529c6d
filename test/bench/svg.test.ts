import fc from "fast-check";
import { expect, it } from "vitest";
import { linePlot } from "../../bench/svg.ts";

const AXES = { title: "a < b & c", x: "x", y: "y" };
const positive = fc.double({ min: 1e-3, max: 1e6, noNaN: true });
const line = fc.record({
  name: fc.string(),
  points: fc.array(fc.tuple(positive, positive), { minLength: 1, maxLength: 9 }),
});

it("draws every point once, within the axes, and escapes text", () => {
  fc.assert(
    fc.property(fc.array(line, { minLength: 1, maxLength: 9 }), (series) => {
      const svg = linePlot(AXES, series);
      const circles = [...svg.matchAll(/<circle cx="([^"]+)" cy="([^"]+)"/g)];
      expect(circles).toHaveLength(series.reduce((sum, { points }) => sum + points.length, 0));
      for (const [, x, y] of circles) {
        expect(Number(x)).toBeGreaterThanOrEqual(70);
        expect(Number(x)).toBeLessThanOrEqual(640);
        expect(Number(y)).toBeGreaterThanOrEqual(40);
        expect(Number(y)).toBeLessThanOrEqual(400);
      }
      expect(svg).toContain("a &lt; b &amp; c");
    }),
  );
});

it("puts powers of two at equal distances", () => {
  const svg = linePlot(AXES, [{ name: "doubling", points: [1, 2, 4, 8].map((x) => [x, x] as const) }]);
  const xs = [...svg.matchAll(/<circle cx="([^"]+)"/g)].map(([, x]) => Number(x));
  expect(xs).toEqual([70, 260, 450, 640]);
});

it("draws shares on axes from 0 to 1", () => {
  const points = [0, 0.2, 0.5, 1].map((x) => [x, x] as const);
  const svg = linePlot({ ...AXES, scale: "share" }, [{ name: "exact", points }]);
  const circles = [...svg.matchAll(/<circle cx="([^"]+)" cy="([^"]+)"/g)].map(([, x, y]) => [Number(x), Number(y)]);
  expect(circles).toEqual([
    [70, 400],
    [184, 328],
    [355, 220],
    [640, 40],
  ]);
  expect(svg).toContain(">0.2<");
});

it("refuses to draw nothing", () => {
  expect(() => linePlot(AXES, [{ name: "empty", points: [] }])).toThrow(RangeError);
});
