import type { DeviceTraits } from "./device.ts";

/**
 * How keys and values are stored. q8: each head of a token has an f32 scale, its largest magnitude / 127, and 8-bit integers
 * (wgsl/attention_keys_cache_q8.wgsl).
 */
export const KV_TYPES = ["f32", "f16", "q8"] as const;
export type KvType = (typeof KV_TYPES)[number];

/**
 * How kernels are written for a device. Chosen once, because families differ in the last bit.
 * - portable: no barriers, f32, threads own their outputs; for software adapters and GPUs without subgroups
 * - subgroup: rows of weights streamed by subgroups, as quantised as in the file, f32 sums, f16 storage where the device has it
 * - matrix: products on subgroup matrices, f16 inputs, f32 sums; otherwise as subgroup
 */
export interface KernelFamily {
  readonly name: "portable" | "subgroup" | "matrix";
  /** Storage type of keys, values and embeddings, and of weights that are not quantised. */
  readonly storage: "f16" | "f32";
  /** Type of keys and values, where it is not the storage type. */
  readonly kv?: KvType;
  /** Rows of one pass over the weights, ascending. */
  readonly rowTiles: readonly number[];
  /** Ranges of a product's inputs (`numRanges`) where they were measured, by `productKey`; part of the arithmetic. */
  readonly ranges?: Readonly<Record<string, number>>;
  /** Set where SiLU as part of a product gave other bits than as a kernel of its own (`checkSiluOnLoad`). */
  readonly siluApart?: true | undefined;
  /** Positions of one attention split. Never changes on a device: it is part of the arithmetic. */
  readonly splitSize: number;
}

export function chooseFamily(traits: DeviceTraits): KernelFamily {
  const hasSubgroups = traits.subgroupSizes[0] >= 4;
  if (traits.software || !hasSubgroups) {
    return { name: "portable", storage: "f32", rowTiles: hasSubgroups ? [1, 2, 3, 4, 8] : [1], splitSize: 64 };
  }
  if (traits.f16 && traits.matrices)
    return { name: "matrix", storage: "f16", rowTiles: [8, 16, 32, 64], splitSize: 256 };
  return { name: "subgroup", storage: traits.f16 ? "f16" : "f32", rowTiles: [1, 2, 4, 8], splitSize: 256 };
}

export function kvTypeOf({ kv, storage }: Pick<KernelFamily, "kv" | "storage">): KvType {
  return kv ?? storage;
}
