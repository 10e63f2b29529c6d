import type { GpuContext } from "./gpu-context.ts";
import { gatedMatmul, gatedTiles } from "./ops/gated-matmul.ts";
import { activationBytes, type Product, paddedOutputs } from "./ops/product.ts";
import { noise, type ProductSum, randomBlocks, resultBits, sameBits } from "./row-tiles.ts";
import { destroyMatrix, uploadMatrix } from "./weights/packed-matrix.ts";

/** Those of a workgroup of the largest tile: outputs have no part in each other's sums. */
const NUM_OUTPUTS = 32;
/** Of partial sums, by the root of how many are added up: gates of both tails, whatever that is. */
const LARGEST = 16;

/** An output of a product of gated inputs: how it is summed up, and what its inputs are made from. */
export interface GatedSum extends ProductSum {
  /** Of the product of gates and ups. */
  readonly gateUpRanges: number;
  /** Of a pass whose product makes its inputs itself; 0 where it never does. */
  readonly maxRows: number;
}

/**
 * Whether products that make their gated inputs themselves give the bits of `siluMul` and the plain product on this device: the
 * compiler sees `exp` and a division in two kernels, and WGSL does not promise that they are rounded alike. True where no product does so.
 * @param sums of the models to be run: of these numbers kernels are made, each its own
 */
export async function checkSiluOnLoad(gpu: GpuContext, sums: readonly GatedSum[]): Promise<boolean> {
  const distinct = new Map(
    sums.map((sum) => {
      const { numInputs, numRanges, format, gateUpRanges, maxRows } = sum;
      return [[numInputs, numRanges, format, gateUpRanges, maxRows].join("/"), sum] as const;
    }),
  );
  const cases = [...distinct.values()].flatMap((sum) =>
    gatedTiles(gpu.family, sum.maxRows).map((tile) => sameEitherWay(gpu, sum, tile)),
  );
  return (await Promise.all(cases)).every(Boolean);
}

async function sameEitherWay({ pool, ...gpu }: GpuContext, sum: GatedSum, tile: number): Promise<boolean> {
  const context = { ...gpu, pool, family: { ...gpu.family, rowTiles: [tile] } };
  const { numInputs, numRanges, format, gateUpRanges } = sum;
  const numRows = Math.min(tile, sum.maxRows);
  const shape = { numInputs, numOutputs: NUM_OUTPUTS };
  const product = (buffer: GPUBuffer, numOutputs: number, numRanges: number): Product => ({
    ...{ buffer, maxRows: tile, numOutputs, numRanges },
  });
  const gateUpOutputs = paddedOutputs(context.family, 2 * numInputs);
  const largest = LARGEST / Math.sqrt(gateUpRanges);
  const partialSums = noise(gateUpRanges * tile * gateUpOutputs, 5).map((value) => largest * value);
  const gateUp = product(pool.upload(partialSums, "gateUp"), gateUpOutputs, gateUpRanges);
  const x = { buffer: pool.storage(activationBytes(context.family, tile, numInputs), "x"), maxRows: tile, numInputs };
  const weights = uploadMatrix(pool, context.family, shape, randomBlocks(format, shape), "weights");
  const [apart, onLoad] = await Promise.all(
    [0, numRows].map(async (maxRows) => {
      const y = product(pool.storage(4 * numRanges * tile * NUM_OUTPUTS, "y"), NUM_OUTPUTS, numRanges);
      const op = await gatedMatmul(context, { weights, gateUp, x, y }, maxRows);
      const bits = await resultBits(context, op, y, numRows);
      pool.destroy(y.buffer);
      return bits;
    }),
  );
  for (const buffer of [gateUp.buffer, x.buffer]) pool.destroy(buffer);
  destroyMatrix(pool, weights);
  return sameBits(apart, onLoad);
}
