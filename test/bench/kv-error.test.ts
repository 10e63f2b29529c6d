import { expect, it } from "vitest";
import { kvError } from "../../bench/kv-error.ts";

const logits = (...rows: (readonly number[])[]) => rows.map((row) => Float32Array.from(row));

it("logits that are the exact ones have no error", () => {
  const exact = { logits: logits([0, 1, 2], [3, 1, 1]), next: [2, 0] };
  expect(kvError(exact, exact)).toMatchObject({
    numTokens: 2,
    meanAbsDelta: 0,
    maxAbsDelta: 0,
    meanKl: 0,
    sameBest: 2,
  });
});

it("others have theirs: distance of logits, divergence of distributions, perplexity of the text", () => {
  const exact = { logits: logits([0, 0], [0, 1]), next: [1, 1] };
  const error = kvError(exact, { logits: logits([Math.log(3), 0], [0, 1]), next: [1, 1] });
  expect(error.maxAbsDelta).toBeCloseTo(Math.log(3), 6);
  expect(error.meanAbsDelta).toBeCloseTo(Math.log(3) / 4, 6);
  // Of (1/2, 1/2) from (3/4, 1/4), over two tokens.
  expect(error.meanKl).toBeCloseTo((0.5 * Math.log(2 / 3) + 0.5 * Math.log(2)) / 2, 6);
  const last = Math.log(1 + Math.exp(-1));
  expect(error.perplexity).toBeCloseTo(Math.exp((Math.log(4) + last) / 2), 6);
  expect(error.exactPerplexity).toBeCloseTo(Math.exp((Math.log(2) + last) / 2), 6);
  expect(error.sameBest).toBe(2);
  expect(() => kvError(exact, { logits: logits([0, 0]), next: [1] })).toThrow(RangeError);
});
