import { type FeatureStore, type GpuContext, packRows } from "../../kernels/index.ts";
import { readStored } from "./gpu.ts";

/** Features [numSlots, size] in one buffer, or in buffers of `width` columns each but for the last. */
export function uploadStore(gpu: GpuContext, values: Float32Array, size: number, width = size): FeatureStore {
  const numSlots = values.length / size;
  const sections = Array.from({ length: Math.ceil(size / width) }, (_, section) => {
    const first = section * width;
    const own = Math.min(width, size - first);
    const columns = Float32Array.from({ length: numSlots * own }, (_, i) => {
      return values[Math.floor(i / own) * size + first + (i % own)] ?? 0;
    });
    return { buffer: gpu.pool.upload(packRows(gpu.family, columns), "features"), width: own };
  });
  return { sections, offset: 0, size };
}

/** The features [numSlots, size] of a whole store. */
export async function readStore(
  gpu: GpuContext,
  { sections, size }: FeatureStore,
  numSlots: number,
): Promise<Float32Array> {
  const values = new Float32Array(numSlots * size);
  let first = 0;
  for (const { buffer, width } of sections) {
    const columns = await readStored(gpu, buffer, numSlots * width);
    for (let slot = 0; slot < numSlots; slot++) {
      values.set(columns.subarray(slot * width, (slot + 1) * width), slot * size + first);
    }
    first += width;
  }
  return values;
}
