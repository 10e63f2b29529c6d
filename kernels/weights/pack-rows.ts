import { toHalf, toHalfBits } from "../f16.ts";
import { type ProductShape, roundUp } from "../ops/product.ts";
import type { PackedWeights } from "./pack-tiles.ts";
import { BLOCK_INPUTS, type Q4Blocks, type Q8Blocks } from "./weight-blocks.ts";

/**
 * Weights in rows, as the family of subgroups streams them (wgsl/weights_*_rows.wgsl): outputs that the weights lack are zero.
 * Rows of quantised weights are whole blocks.
 */
export function packF32Rows({ numInputs, numOutputs }: ProductShape, weights: Float32Array): PackedWeights {
  const values = new Float32Array(numOutputs * numInputs);
  values.set(weights);
  return { values };
}

/** Rounded to f16, in rows of whole chunks of 8. */
export function packF16Rows({ numInputs, numOutputs }: ProductShape, weights: Float32Array): PackedWeights {
  const row = roundUp(numInputs, 8);
  const values = new Uint16Array(numOutputs * row);
  for (let from = 0, to = 0; from < weights.length; from += numInputs, to += row) {
    values.set(toHalf(weights.subarray(from, from + numInputs)), to);
  }
  return { values };
}

export function packQ8Rows({ numInputs, numOutputs }: ProductShape, { quants, scales }: Q8Blocks): PackedWeights {
  const values = new Int8Array(numOutputs * numInputs);
  values.set(quants);
  const halves = new Uint16Array(roundUp((numOutputs * numInputs) / BLOCK_INPUTS, 2));
  halves.set(toHalf(scales));
  return { values, scales: halves };
}

export function packQ4Rows({ numInputs, numOutputs }: ProductShape, blocks: Q4Blocks): PackedWeights {
  const { quants, scales, minimums } = blocks;
  const values = new Uint8Array((numOutputs * numInputs) / 2);
  // Of eight neighbours, i and i + 4 share byte i.
  for (let from = 0; from < quants.length; from += 8) {
    for (let i = from; i < from + 4; i++)
      values[from / 2 + (i - from)] = (quants[i] ?? 0) | ((quants[i + 4] ?? 0) << 4);
  }
  const pairs = new Uint16Array((2 * numOutputs * numInputs) / BLOCK_INPUTS);
  for (const [block, scale] of scales.entries()) {
    pairs[2 * block] = toHalfBits(scale);
    pairs[2 * block + 1] = toHalfBits(minimums[block] ?? 0);
  }
  return { values, scales: pairs };
}
