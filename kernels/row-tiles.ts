import type { KernelFamily } from "./family.ts";
import type { GpuContext } from "./gpu-context.ts";
import { type MatmulShape, matmul, packWeights } from "./ops/matmul.ts";

const NUM_OUTPUTS = 64;

/**
 * The family with only those row tiles whose products equal the one-row product bit for bit on this device. WGSL lets a
 * compiler reassociate sums and split `fma`, so equality is observed, never assumed; a tile that differs is not used.
 * @param inputSizes numInputs of every product of the models to be run: the length of a sum is what rounding depends on
 */
export async function checkRowTiles(gpu: GpuContext, inputSizes: readonly number[]): Promise<KernelFamily> {
  const [first = 1, ...others] = gpu.family.rowTiles;
  const equal = new Set(others);
  for (const numInputs of new Set(inputSizes)) {
    for (const accumulate of [false, true]) {
      const shape = { numInputs, numOutputs: NUM_OUTPUTS };
      const [expected, ...results] = await Promise.all(
        [first, ...others].map((tile) => product(gpu, shape, tile, accumulate)),
      );
      others.forEach((tile, i) => {
        if (!sameBits(expected, results[i])) equal.delete(tile);
      });
    }
  }
  return { ...gpu.family, rowTiles: [first, ...others.filter((tile) => equal.has(tile))] };
}

/** y f32 [rows, 64] as u32 bits, of as many rows as the family's largest tile has and one more, in tiles of `tile`. */
async function product(gpu: GpuContext, shape: MatmulShape, tile: number, accumulate: boolean): Promise<Uint32Array> {
  const { pool, device } = gpu;
  const numRows = Math.max(...gpu.family.rowTiles) + 1;
  const family = { ...gpu.family, rowTiles: [tile] };
  const weights = pool.upload(packWeights(family, shape, noise(shape.numInputs * shape.numOutputs, 1)), "weights");
  const x = pool.upload(noise(numRows * shape.numInputs, 2), "x");
  const y = pool.upload(noise(numRows * shape.numOutputs, 3), "y");
  const op = await matmul({ ...gpu, family }, { shape, weights, x, y, accumulate });
  const bytes = await gpu.guard.run(() => {
    const encoder = device.createCommandEncoder();
    const pass = encoder.beginComputePass();
    op(pass, { numRows, numSplits: 1, numLogits: 0 });
    pass.end();
    device.queue.submit([encoder.finish()]);
    return pool.read(y, 0, 4 * numRows * shape.numOutputs);
  });
  for (const buffer of [weights, x, y]) pool.destroy(buffer);
  return new Uint32Array(bytes);
}

/** Deterministic values in [−1, 1) (a linear congruential generator). */
function noise(count: number, seed: number): Float32Array<ArrayBuffer> {
  let state = seed;
  return Float32Array.from({ length: count }, () => {
    state = (Math.imul(state, 1664525) + 1013904223) >>> 0;
    return state / 2 ** 31 - 1;
  });
}

function sameBits(a: Uint32Array | undefined, b: Uint32Array | undefined): boolean {
  return a !== undefined && b !== undefined && a.length === b.length && a.every((bits, i) => bits === b[i]);
}
