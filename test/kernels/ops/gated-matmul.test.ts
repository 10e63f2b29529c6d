import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { gatedMatmul, type KernelFamily, type KernelSpec, type Kernels, numRanges } from "../../../kernels/index.ts";
import { maxGatedRows } from "../../../kernels/ops/gated-matmul.ts";
import { FAMILIES, MATRIX } from "../../support/gpu.ts";

const buffer = {} as GPUBuffer;

/** A product and its gates, of a model's sizes. */
function mlpOf(hiddenSize: number, intermediateSize: number, numRanges: number) {
  const maxRows = 64;
  return {
    gateUp: { buffer, maxRows, numOutputs: 2 * intermediateSize, numRanges },
    x: { buffer, maxRows, numInputs: intermediateSize },
    y: { buffer, maxRows, numOutputs: hiddenSize, numRanges: 1 },
    weights: {
      format: "f16",
      parts: [
        { values: buffer, firstOutput: 0, numOutputs: hiddenSize / 2 },
        { values: buffer, firstOutput: hiddenSize / 2, numOutputs: hiddenSize / 2 },
      ],
    },
  } as const;
}

/** The last file of every kernel that a pass of `numRows` rows dispatches, and its inputs' file where it is a product. */
async function dispatched(family: KernelFamily, numRows: number, maxRows?: number): Promise<string[]> {
  const names: string[] = [];
  const bind = async ({ shader, constants }: KernelSpec) => {
    const inputs = shader.find((name) => name.startsWith("matmul_inputs_"))?.slice("matmul_inputs_".length);
    const tile = Number(constants.TOKENS) * Number(constants.COLUMNS);
    return { dispatch: () => names.push(inputs ? `${inputs} ${tile}` : (shader.at(-1) ?? "")) };
  };
  const kernels = { bind } as unknown as Kernels;
  const op = await gatedMatmul({ kernels, family }, mlpOf(64, 128, 2), maxRows);
  op({} as GPUComputePassEncoder, { numRows, numSplits: 1, numLogits: 0 });
  return names;
}

describe("a product of gated inputs", () => {
  it.each([
    [1, ["gated 8", "gated 8"]],
    [8, ["gated 8", "gated 8"]],
    [9, ["gated 16", "gated 16"]],
    [10, ["gated 16", "gated 16"]],
    [11, ["silu_mul", "stored 16", "stored 16"]],
    [33, ["silu_mul", "stored 64", "stored 64"]],
  ])("of %i rows, where up to 10 make their inputs: %o", async (numRows, expected) => {
    expect(await dispatched(MATRIX, numRows, 10)).toEqual(expected);
  });

  it("makes its inputs in no kernel that the family does not have", async () => {
    for (const family of [...FAMILIES, { ...MATRIX, siluApart: true } as const]) {
      expect((await dispatched(family, 1, 16))[0]).toBe("silu_mul");
    }
    const smallTile = { ...MATRIX, rowTiles: [8, 32] };
    expect(await dispatched(smallTile, 8, 16)).toEqual(["gated 8", "gated 8"]);
    expect(await dispatched(smallTile, 9, 16)).toEqual(["silu_mul", "stored 32", "stored 32"]);
  });
});

describe("the rows up to which a product makes its inputs", () => {
  const sizes = fc.record({
    hidden: size(8192),
    intermediate: size(32_768),
    numRanges: fc.integer({ min: 1, max: 16 }),
  });

  it("are between none and a tile's, and no more for a larger product or more ranges (property)", () => {
    const rows = ({ hidden, intermediate, numRanges }: { hidden: number; intermediate: number; numRanges: number }) =>
      maxGatedRows(MATRIX, mlpOf(hidden, intermediate, numRanges));
    const property = fc.property(sizes, sizes, (a, b) => {
      const larger = {
        hidden: Math.max(a.hidden, b.hidden),
        intermediate: Math.max(a.intermediate, b.intermediate),
        numRanges: Math.max(a.numRanges, b.numRanges),
      };
      expect([0, ...Array.from({ length: 16 }, (_, i) => i + 1)]).toContain(rows(a));
      expect(rows(larger)).toBeLessThanOrEqual(rows(a));
    });
    fc.assert(property);
  });

  it.each([
    ["sapling-14m", 384, 1024, 13],
    ["135m", 576, 1536, 4],
    ["1b", 2048, 8192, 0],
    ["8b", 4096, 14_336, 0],
  ])("are those of which docs/benchmarks.md tells, of %s", (_, hidden, intermediate, expected) => {
    const gateUp = { numInputs: hidden, numOutputs: 2 * intermediate };
    expect(maxGatedRows(MATRIX, mlpOf(hidden, intermediate, numRanges(MATRIX, gateUp)))).toBe(expected);
  });

  it("are a whole tile's for a model of few megabytes, and none for one of gigabytes", () => {
    expect(maxGatedRows(MATRIX, mlpOf(64, 128, 1))).toBe(16);
    expect(maxGatedRows({ ...MATRIX, rowTiles: [8] }, mlpOf(64, 128, 1))).toBe(8);
    expect(maxGatedRows(MATRIX, mlpOf(4096, 14_336, 4))).toBe(0);
    for (const family of [...FAMILIES, { ...MATRIX, siluApart: true } as const]) {
      expect(maxGatedRows(family, mlpOf(64, 128, 1))).toBe(0);
    }
  });
});

function size(max: number) {
  return fc.integer({ min: 1, max: max / 32 }).map((count) => 32 * count);
}
