import fc from "fast-check";
import { expect, it } from "vitest";
import { numAttentionPartials } from "../../../kernels/index.ts";

const MIB = 2 ** 20;

it("scratch has room for all rows, or for as many as 256 MiB and the adapter's bindings allow, and at least one", () => {
  const sizes = fc.record({
    maxBytes: fc.integer({ min: 1, max: 4096 * MIB }),
    numHeads: fc.integer({ min: 1, max: 64 }),
    headDim: fc.integer({ min: 1, max: 32 }).map((eights) => 8 * eights),
    numRows: fc.integer({ min: 1, max: 4096 }),
    numSplits: fc.integer({ min: 1, max: 512 }),
  });
  fc.assert(
    fc.property(sizes, ({ maxBytes, numHeads, headDim, numRows, numSplits }) => {
      const numPartials = numAttentionPartials({ maxBytes }, { numHeads, headDim }, numRows, numSplits);
      const rows = numPartials / (numHeads * numSplits);
      const rowBytes = 4 * numHeads * numSplits * headDim;
      const most = Math.min(maxBytes, 256 * MIB);
      expect(Number.isInteger(rows) && rows >= 1 && rows <= numRows).toBe(true);
      if (rows > 1) expect(rows * rowBytes).toBeLessThanOrEqual(most);
      if (rows < numRows) expect((rows + 1) * rowBytes).toBeGreaterThan(most);
    }),
  );
});

it("an 8b model's rows of 32,768 positions, 128 splits of 256: 128 of 2,048 at a time", () => {
  const heads = { numHeads: 32, headDim: 128 };
  expect(numAttentionPartials({ maxBytes: 4096 * MIB }, heads, 2048, 128)).toBe(128 * 32 * 128);
  // What WebGPU promises to bind.
  expect(numAttentionPartials({ maxBytes: 128 * MIB }, heads, 2048, 128)).toBe(64 * 32 * 128);
});
