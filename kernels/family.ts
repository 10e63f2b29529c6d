import type { DeviceTraits } from "./device.ts";

/**
 * How kernels are written for a device. Chosen once, because two families differ in the last bit.
 * - portable: no barriers, f32, threads own their outputs; for software adapters and GPUs without subgroups
 * - subgroup: rows of weights streamed by subgroups, workgroup memory, f16 storage where the device has it
 */
export interface KernelFamily {
  readonly name: "portable" | "subgroup";
  /** Storage type of weights, keys and values. */
  readonly storage: "f16" | "f32";
  /** Rows of one pass over the weights, ascending; the first is 1. */
  readonly rowTiles: readonly number[];
  /** Positions of one attention split. Never changes on a device: it is part of the arithmetic. */
  readonly splitSize: number;
  /** Attention by subgroup matrices, wherever storage is f16 and the head size is a multiple of 16. */
  readonly matrixAttention?: boolean;
}

export function chooseFamily(traits: DeviceTraits): KernelFamily {
  const hasSubgroups = traits.subgroupSizes[0] >= 4;
  if (traits.software || !hasSubgroups) {
    return { name: "portable", storage: "f32", rowTiles: hasSubgroups ? [1, 4, 8] : [1], splitSize: 64 };
  }
  return { name: "subgroup", storage: traits.f16 ? "f16" : "f32", rowTiles: [1, 2, 4, 8], splitSize: 256 };
}
