import fc from "fast-check";
import { describe, expect, it } from "vitest";
import {
  type Binding,
  type BoundKernel,
  checkSiluOnLoad,
  chooseKernels,
  type GatedSum,
  type GpuContext,
  gatedMatmul,
  type KernelSpec,
  Kernels,
  paddedOutputs,
} from "../../kernels/index.ts";
import { FAMILIES, MATRIX, useGpu } from "../support/gpu.ts";
import { EmulatedMatrices } from "./emulated-matrices.ts";
import { productOf } from "./tuning/products.ts";

const test = useGpu();

type Constants = KernelSpec["constants"];
const isGated = ({ shader }: KernelSpec) => shader.includes("matmul_inputs_gated");

/** Products that make their inputs themselves leave out the last range of gates and ups where they are wrong. */
class OtherInputs extends EmulatedMatrices {
  isWrong: (constants: Constants) => boolean = () => false;

  override bind(spec: KernelSpec, buffers: readonly Binding[]): Promise<BoundKernel> {
    const { constants } = spec;
    const isWrong = isGated(spec) && this.isWrong(constants);
    const wrong = { ...constants, NUM_RANGES: Number(constants.NUM_RANGES) - 1 };
    return super.bind(isWrong ? { ...spec, constants: wrong } : spec, buffers);
  }
}

it("a choice of kernels says so where SiLU on load gives other bits with the model's own ranges, and with no others", async () => {
  const kernels = new OtherInputs(test.context(MATRIX).device);
  const context = { ...test.context(MATRIX), kernels, family: { ...MATRIX, rowTiles: [8] } };
  // By the rules gates and ups have three ranges, and the product of them two of one tile each.
  const down = { ...productOf(128, 192), gateUp: { numInputs: 192, numOutputs: 256 } };
  const choose = () =>
    chooseKernels({ adapterName: "emulated", driver: "", features: [] }, context, [down], {
      ...{ cacheDir: "/dev/null/none", timer: undefined, chosen: new Map(), now: () => 0 },
    });
  const choice = await choose();
  expect(choice.ranges).toEqual({ "128x192": 2 });
  expect(choice).not.toHaveProperty("siluApart");
  kernels.isWrong = ({ NUM_RANGES, TILES_PER_RANGE }) => NUM_RANGES !== 3 || TILES_PER_RANGE !== 1;
  expect(await choose()).toEqual(choice);
  kernels.isWrong = ({ NUM_RANGES, TILES_PER_RANGE }) => NUM_RANGES === 3 && TILES_PER_RANGE === 1;
  expect(await choose()).toEqual({ ...choice, siluApart: true });
});

/** Remembers the products of gated inputs that it is to run, and runs nothing. */
class Listed extends Kernels {
  /** What their code depends on, without where rows and outputs lie. */
  readonly gated = new Set<string>();
  readonly rows = new Set<number>();

  override async bind(spec: KernelSpec): Promise<BoundKernel> {
    const { X_ROWS, Y_OUTPUTS, PART_ROWS, FIRST_OUTPUT, ...others } = spec.constants;
    if (isGated(spec)) this.gated.add(JSON.stringify([spec.shader, others]));
    return { dispatch: (_pass, _grid, [numRows] = new Uint32Array()) => isGated(spec) && this.rows.add(numRows ?? 0) };
  }
}

describe("what is compared", () => {
  const sum: fc.Arbitrary<GatedSum> = fc.integer({ min: 1, max: 8 }).chain((tiles) =>
    fc.record({
      numInputs: fc.constantFrom(0, 32).map((padding) => 64 * tiles - padding),
      numRanges: fc.integer({ min: 1, max: tiles }).filter((ranges) => tiles % ranges === 0),
      format: fc.constantFrom("f16", "q8", "q4"),
      gateUpRanges: fc.integer({ min: 1, max: 9 }),
      maxRows: fc.integer({ min: 0, max: 16 }),
    }),
  );

  it("are the very kernels that models run, each with as many rows as it is given at most (property)", async () => {
    const gpu = test.context(MATRIX);
    const property = fc.asyncProperty(fc.array(sum, { maxLength: 3 }), async (sums) => {
      const [checked, run] = [new Listed(gpu.device), new Listed(gpu.device)];
      expect(await checkSiluOnLoad({ ...gpu, kernels: checked }, sums)).toBe(true);
      for (const sum of sums) await layersProduct({ ...gpu, kernels: run }, sum);
      expect(checked.gated).toEqual(run.gated);
      const rows = sums.flatMap(({ maxRows }) =>
        [8, ...(maxRows > 8 ? [16] : [])].map((tile) => Math.min(tile, maxRows)),
      );
      expect(checked.rows).toEqual(new Set(rows.filter((numRows) => numRows > 0)));
    });
    await fc.assert(property, { numRuns: 30 });
  });

  it.each(FAMILIES)("is nothing in the $name family", async (family) => {
    const gpu = test.context(family);
    const kernels = new Listed(gpu.device);
    kernels.bind = () => Promise.reject(new Error("bound a kernel"));
    const sum = { numInputs: 64, numRanges: 1, format: family.storage, gateUpRanges: 1, maxRows: 16 };
    expect(await checkSiluOnLoad({ ...gpu, kernels }, [sum])).toBe(true);
  });
});

/** Binds the down product of a model's layer, of 96 outputs and passes of up to 64 rows. */
async function layersProduct(context: Pick<GpuContext, "kernels" | "family">, sum: GatedSum): Promise<void> {
  const { numInputs, numRanges, format, gateUpRanges, maxRows } = sum;
  const to = { buffer: {} as GPUBuffer, maxRows: 64 };
  const gateUp = { ...to, numOutputs: paddedOutputs(context.family, 2 * numInputs), numRanges: gateUpRanges };
  const weights = { format, parts: [{ values: to.buffer, firstOutput: 0, numOutputs: 96 }] };
  const args = { weights, gateUp, x: { ...to, numInputs }, y: { ...to, numOutputs: 96, numRanges } };
  await gatedMatmul(context, args, maxRows);
}
