import { fromHalfBits, toHalfBits } from "../f16.ts";

/** Inputs that share a scale. */
export const BLOCK_INPUTS = 32;

/** w f32 [numOutputs, numInputs] */
export interface FloatBlocks {
  readonly format: "float";
  readonly values: Float32Array;
  /** Came from a quantised form that is neither q8 nor q4: the device may hold it as q8. */
  readonly lowPrecision: boolean;
}

/** w = d · q: q int8 [numOutputs, numInputs], scales d f32 [numOutputs, numInputs / 32]. */
export interface Q8Blocks {
  readonly format: "q8";
  readonly quants: Int8Array;
  readonly scales: Float32Array;
}

/** w = d · q + m: q 0 … 15, a byte each, [numOutputs, numInputs]; d and m f32 [numOutputs, numInputs / 32]. */
export interface Q4Blocks {
  readonly format: "q4";
  readonly quants: Uint8Array;
  readonly scales: Float32Array;
  readonly minimums: Float32Array;
}

/** Rows of a weight matrix as a file holds them, or as close as kernels can work with. */
export type WeightBlocks = FloatBlocks | Q8Blocks | Q4Blocks;

/** w f32 [numOutputs, numInputs]: d · q + m in f64, rounded once. */
export function expandBlocks(blocks: WeightBlocks): Float32Array {
  if (blocks.format === "float") return blocks.values;
  const { quants } = blocks;
  const out = new Float32Array(quants.length);
  for (let from = 0, block = 0; from < out.length; from += BLOCK_INPUTS, block++) {
    const scale = blocks.scales[block] ?? 0;
    const minimum = blocks.format === "q4" ? (blocks.minimums[block] ?? 0) : 0;
    for (let i = from; i < from + BLOCK_INPUTS; i++) out[i] = scale * (quants[i] ?? 0) + minimum;
  }
  return out;
}

/**
 * The nearest q8 blocks. A value is off by at most half a step, 1/254 of the largest magnitude in its block of 32, and what
 * the scale's rounding to f16 adds: 2⁻¹¹ of the value, or 127 · 2⁻²⁵ where the scale is below the normal halves, 2⁻¹⁴.
 * @param values f32, whole blocks
 */
export function quantizeQ8(values: Float32Array): Q8Blocks {
  const quants = new Int8Array(values.length);
  const scales = new Float32Array(values.length / BLOCK_INPUTS);
  for (let block = 0; block < scales.length; block++) {
    const from = block * BLOCK_INPUTS;
    let largest = 0;
    for (let i = from; i < from + BLOCK_INPUTS; i++) largest = Math.max(largest, Math.abs(values[i] ?? 0));
    // As the device will hold it, so that quants are chosen for the scale that they get.
    const scale = fromHalfBits(toHalfBits(largest / 127));
    scales[block] = scale;
    if (scale === 0) continue;
    for (let i = from; i < from + BLOCK_INPUTS; i++) {
      quants[i] = Math.max(-127, Math.min(127, Math.round((values[i] ?? 0) / scale)));
    }
  }
  return { format: "q8", quants, scales };
}

/** Matrices with rows of equal length, one below the other; floats where their formats differ. */
export function stackBlocks(parts: readonly WeightBlocks[]): WeightBlocks {
  const [first] = parts;
  if (first === undefined) throw new RangeError("no matrix to stack");
  if (parts.length === 1) return first;
  if (parts.every((part) => part.format === "q8")) {
    return {
      format: "q8",
      quants: concat(
        Int8Array,
        parts.map(({ quants }) => quants),
      ),
      scales: concat(
        Float32Array,
        parts.map(({ scales }) => scales),
      ),
    };
  }
  if (parts.every((part) => part.format === "q4")) {
    return {
      format: "q4",
      quants: concat(
        Uint8Array,
        parts.map(({ quants }) => quants),
      ),
      scales: concat(
        Float32Array,
        parts.map(({ scales }) => scales),
      ),
      minimums: concat(
        Float32Array,
        parts.map(({ minimums }) => minimums),
      ),
    };
  }
  const lowPrecision = parts.every((part) => part.format !== "float" || part.lowPrecision);
  return { format: "float", values: concat(Float32Array, parts.map(expandBlocks)), lowPrecision };
}

interface Writable<T> {
  readonly length: number;
  set(part: T, at: number): void;
}

function concat<T extends Writable<T>>(Kind: new (length: number) => T, parts: readonly T[]): T {
  const out = new Kind(parts.reduce((total, { length }) => total + length, 0));
  let at = 0;
  for (const part of parts) {
    out.set(part, at);
    at += part.length;
  }
  return out;
}
