import type { GpuContext } from "./gpu-context.ts";
import { gatedMatmul, gatedTiles } from "./ops/gated-matmul.ts";
import { activationBytes, type Product, paddedRows } from "./ops/product.ts";
import { noise, randomBlocks, resultBits, sameBits } from "./row-tiles.ts";
import { destroyMatrix, uploadMatrix, type WeightFormat } from "./weights/packed-matrix.ts";

/** Two tiles of inputs, and two outputs' tiles. */
const SHAPE = { numInputs: 128, numOutputs: 32 };
const GATE_UP_RANGES = 2;
/** Gates of both tails. */
const LARGEST = 16;

/**
 * Whether products that make their gated inputs themselves give the bits of `siluMul` and the plain product on this device: the
 * compiler sees `exp` and a division in two kernels, and WGSL does not promise that they are rounded alike. True where no product does so.
 * @param formats of the weights of the models to be run
 */
export async function checkSiluOnLoad(gpu: GpuContext, formats: readonly WeightFormat[]): Promise<boolean> {
  const tiles = gatedTiles(gpu.family);
  const cases = [...new Set(formats)].flatMap((format) => tiles.map((tile) => ({ format, tile })));
  return (await Promise.all(cases.map(({ format, tile }) => sameEitherWay(gpu, format, tile)))).every(Boolean);
}

async function sameEitherWay({ pool, ...gpu }: GpuContext, format: WeightFormat, tile: number): Promise<boolean> {
  const context = { ...gpu, pool, family: { ...gpu.family, rowTiles: [tile] } };
  const { numInputs, numOutputs } = SHAPE;
  const maxRows = paddedRows(context.family, tile);
  const product = (buffer: GPUBuffer, numOutputs: number, numRanges: number): Product => ({
    ...{ buffer, maxRows, numOutputs, numRanges },
  });
  const partialSums = noise(GATE_UP_RANGES * maxRows * 2 * numInputs, 5).map((value) => LARGEST * value);
  const gateUp = product(pool.upload(partialSums, "gateUp"), 2 * numInputs, GATE_UP_RANGES);
  const x = { buffer: pool.storage(activationBytes(context.family, maxRows, numInputs), "x"), maxRows, numInputs };
  const weights = uploadMatrix(pool, context.family, SHAPE, randomBlocks(format, SHAPE), "weights");
  const [apart, onLoad] = await Promise.all(
    [0, tile].map(async (maxRows) => {
      const y = product(pool.storage(4 * gateUp.maxRows * numOutputs, "y"), numOutputs, 1);
      const bits = await resultBits(context, await gatedMatmul(context, { weights, gateUp, x, y }, maxRows), y, tile);
      pool.destroy(y.buffer);
      return bits;
    }),
  );
  for (const buffer of [gateUp.buffer, x.buffer]) pool.destroy(buffer);
  destroyMatrix(pool, weights);
  return sameBits(apart, onLoad);
}
