import { toHalf } from "../f16.ts";
import type { KernelFamily } from "../family.ts";

/** WGSL extensions that the family's storage type needs. */
export function storageEnables(family: KernelFamily): readonly "f16"[] {
  return family.storage === "f16" ? ["f16"] : [];
}

export function storageBytes(family: KernelFamily): number {
  return family.storage === "f16" ? 2 : 4;
}

/** Row-major values in the family's storage type. */
export function packRows(
  family: KernelFamily,
  values: Float32Array,
): Float32Array<ArrayBuffer> | Uint16Array<ArrayBuffer> {
  return family.storage === "f16" ? toHalf(values) : new Float32Array(values);
}

/** Largest magnitude that a stored value may have: an infinite one would make other rows' sums of a tile NaN, as 0 · ∞ is. */
export const LARGEST_STORED = { f16: 65504, f32: 3.4e38 } as const;
