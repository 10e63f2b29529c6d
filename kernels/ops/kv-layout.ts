import { type KernelFamily, kvTypeOf } from "../family.ts";
import type { HeadShape } from "./attention-types.ts";

/** A slot of a layer's keys or values in memory. */
export interface KvLayout {
  /** WGSL type of an element of the buffer. */
  readonly element: string;
  readonly elementBytes: number;
  /** Of one slot. */
  readonly numElements: number;
}

export function kvLayout(
  family: Pick<KernelFamily, "kv" | "storage">,
  { numKvHeads, headDim }: Pick<HeadShape, "numKvHeads" | "headDim">,
): KvLayout {
  const type = kvTypeOf(family);
  // The scale comes before the integers, four of them a word.
  if (type === "q8") return { element: "u32", elementBytes: 4, numElements: numKvHeads * (1 + headDim / 4) };
  return { element: `vec4<${type}>`, elementBytes: type === "f16" ? 8 : 16, numElements: (numKvHeads * headDim) / 4 };
}

/** Bytes of one slot of a layer's keys, or of its values. */
export function kvSlotBytes(
  family: Pick<KernelFamily, "kv" | "storage">,
  heads: Pick<HeadShape, "numKvHeads" | "headDim">,
): number {
  const { elementBytes, numElements } = kvLayout(family, heads);
  return elementBytes * numElements;
}
