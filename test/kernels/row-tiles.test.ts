import { expect, it } from "vitest";
import {
  type Binding,
  type BoundKernel,
  checkRowTiles,
  type KernelFamily,
  type KernelSpec,
  Kernels,
  type ProductSum,
} from "../../kernels/index.ts";
import { FAMILIES, useGpu } from "../support/gpu.ts";

const test = useGpu();
/** Of every format that the family holds weights in. */
const sumsOf = (family: KernelFamily): ProductSum[] => [
  ...[64, 260, 1028].map((numInputs) => ({ numInputs, numRanges: 1, format: family.storage })),
  ...(family.name === "portable" ? [] : (["q8", "q4"] as const)).map((format) => ({
    numInputs: 96,
    numRanges: 1,
    format,
  })),
];

it.each(FAMILIES)("every tile of the $name family, $storage, gives the one-row product's bits here", async (family) => {
  expect(await checkRowTiles(test.context(family), sumsOf(family))).toEqual(family);
});

/** The tile of 4 rows has its sum cut short by four inputs, which are a constant of it or its second immediate. */
class WrongTile extends Kernels {
  override async bind(spec: KernelSpec, buffers: readonly Binding[]): Promise<BoundKernel> {
    const { constants } = spec;
    const isPortable = spec.shader.includes("matmul_rows") && constants.ROWS === 4;
    const numInputs = Number(constants.NUM_INPUTS) - 4;
    const isWrong = constants.ROWS === 4 && !isPortable;
    const bound = await super.bind(
      isWrong ? { ...spec, constants: { ...constants, NUM_INPUTS: numInputs } } : spec,
      buffers,
    );
    if (!isPortable) return bound;
    return {
      dispatch: (pass, grid, [rows = 0, inputs = 0, ...others]) =>
        bound.dispatch(pass, grid, Uint32Array.of(rows, inputs - 1, ...others)),
    };
  }
}

it.each(FAMILIES)("a tile of the $name family, $storage, that differs is not used, the others are", async (family) => {
  const gpu = test.context(family);
  const { rowTiles } = await checkRowTiles({ ...gpu, kernels: new WrongTile(gpu.device) }, sumsOf(family).slice(0, 1));
  expect(rowTiles).toEqual(family.rowTiles.filter((tile) => tile !== 4));
});
