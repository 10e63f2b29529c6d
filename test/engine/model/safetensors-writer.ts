export { type SafeTensor, withHeader, writeSafetensors } from "../../../engine/model/safetensors-writer.ts";

/** Values as little-endian f32 bytes. */
export function f32Bytes(values: readonly number[] | Float32Array): Buffer {
  const bytes = Buffer.alloc(4 * values.length);
  values.forEach((value, i) => {
    bytes.writeFloatLE(value, 4 * i);
  });
  return bytes;
}
