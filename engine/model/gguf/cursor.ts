import { isUtf8 } from "node:buffer";
import type { ModelFileError } from "../../errors.ts";
import type { ModelFile } from "../model-file.ts";

/** Longest string of a header; chat templates and the like are far below it. */
export const MAX_STRING_BYTES = 16 << 20;
const WINDOW_BYTES = 256 << 10;

/** Reads a header front to back through a small window on the file. All numbers are little endian. */
export class Cursor {
  private window: Buffer = Buffer.alloc(0);
  private windowStart = 0;
  private at = 0;

  constructor(readonly file: ModelFile) {}

  /** Bytes read so far, = offset in the file. */
  get offset(): number {
    return this.at;
  }

  /** Bytes that the file still holds behind the cursor. */
  get remaining(): number {
    return this.file.size - this.at;
  }

  u8(field: string): number {
    return this.take(1, field).readUInt8();
  }
  i8(field: string): number {
    return this.take(1, field).readInt8();
  }
  u16(field: string): number {
    return this.take(2, field).readUInt16LE();
  }
  i16(field: string): number {
    return this.take(2, field).readInt16LE();
  }
  u32(field: string): number {
    return this.take(4, field).readUInt32LE();
  }
  i32(field: string): number {
    return this.take(4, field).readInt32LE();
  }
  f32(field: string): number {
    return this.take(4, field).readFloatLE();
  }
  u64(field: string): bigint {
    return this.take(8, field).readBigUInt64LE();
  }
  i64(field: string): bigint {
    return this.take(8, field).readBigInt64LE();
  }
  f64(field: string): number {
    return this.take(8, field).readDoubleLE();
  }

  bool(field: string): boolean {
    const byte = this.u8(field);
    if (byte > 1) throw this.malformed(field, `boolean is ${byte}, not 0 or 1`, 1);
    return byte === 1;
  }

  /** Length u64, then that many bytes of UTF-8. @throws ModelFileError above `maxBytes` or when it is not UTF-8. */
  string(field: string, maxBytes = MAX_STRING_BYTES): string {
    const length = this.count(field, BigInt(maxBytes), 1n);
    const bytes = this.take(length, field);
    if (!isUtf8(bytes)) throw this.malformed(field, "string is not UTF-8", length);
    return bytes.toString("utf8");
  }

  /**
   * A count u64 of things that take at least `minBytes` each.
   * @throws ModelFileError malformed above `max`, truncated when the rest of the file cannot hold them.
   */
  count(field: string, max: bigint, minBytes: bigint): number {
    const count = this.u64(field);
    if (count > max) throw this.malformed(field, `count ${count} is above the limit of ${max}`, 8);
    this.file.checkRange(BigInt(this.at), count * minBytes, field);
    return Number(count);
  }

  /** Error at the value that was just read and took `back` bytes. */
  malformed(field: string, problem: string, back = 0): ModelFileError {
    return this.file.error("malformed", field, this.at - back, problem);
  }

  /** The next `length` bytes; valid until the next read. */
  private take(length: number, field: string): Buffer {
    const start = this.at - this.windowStart;
    if (start + length <= this.window.byteLength) {
      this.at += length;
      return this.window.subarray(start, start + length);
    }
    this.file.checkRange(BigInt(this.at), BigInt(length), field);
    const size = Math.max(length, Math.min(WINDOW_BYTES, this.remaining));
    this.window = Buffer.from(this.file.read(this.at, size, field).buffer);
    this.windowStart = this.at;
    this.at += length;
    return this.window.subarray(0, length);
  }
}
