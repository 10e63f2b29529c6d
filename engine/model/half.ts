import { fromHalfBits } from "../../kernels/f16.ts";

/** Bit patterns of binary16 and their values: 65,536 entries, so that widening is one look-up. Built on first use. */
let table: Float32Array | undefined;

/** f32 value of every f16 bit pattern, f32 [65536]. */
export function halfTable(): Float32Array {
  table ??= Float32Array.from({ length: 65536 }, (_, bits) => fromHalfBits(bits));
  return table;
}

/** The little-endian f16 at `at`. */
export function readHalf(bytes: Uint8Array, at: number): number {
  return halfTable()[readU16(bytes, at)] ?? 0;
}

/** The little-endian u16 at `at`. */
export function readU16(bytes: Uint8Array, at: number): number {
  return (bytes[at] ?? 0) | ((bytes[at + 1] ?? 0) << 8);
}
