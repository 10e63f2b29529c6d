import { ModelFileError } from "../../errors.ts";
import type { Cursor } from "./cursor.ts";

const MAX_KEYS = 65_536n;
const MAX_KEY_BYTES = 65_535;
/** Vocabularies have a few hundred thousand entries. */
const MAX_ARRAY_LENGTH = 16_777_216n;

type Scalar = string | number | bigint | boolean;

interface ValueType {
  readonly name: string;
  readonly minBytes: bigint;
  readonly read: (cursor: Cursor, field: string) => Scalar;
}

const ARRAY_TYPE = 9;
const VALUE_TYPES: ReadonlyMap<number, ValueType> = new Map<number, ValueType>([
  [0, { name: "u8", minBytes: 1n, read: (c, f) => c.u8(f) }],
  [1, { name: "i8", minBytes: 1n, read: (c, f) => c.i8(f) }],
  [2, { name: "u16", minBytes: 2n, read: (c, f) => c.u16(f) }],
  [3, { name: "i16", minBytes: 2n, read: (c, f) => c.i16(f) }],
  [4, { name: "u32", minBytes: 4n, read: (c, f) => c.u32(f) }],
  [5, { name: "i32", minBytes: 4n, read: (c, f) => c.i32(f) }],
  [6, { name: "f32", minBytes: 4n, read: (c, f) => c.f32(f) }],
  [7, { name: "bool", minBytes: 1n, read: (c, f) => c.bool(f) }],
  [8, { name: "string", minBytes: 8n, read: (c, f) => c.string(f) }],
  [10, { name: "u64", minBytes: 8n, read: (c, f) => c.u64(f) }],
  [11, { name: "i64", minBytes: 8n, read: (c, f) => c.i64(f) }],
  [12, { name: "f64", minBytes: 8n, read: (c, f) => c.f64(f) }],
]);

export type MetadataValue = Scalar | readonly Scalar[];

/** Key–value pairs of a GGUF header. Accessors give undefined for an absent key and throw for one of another type. */
export class Metadata {
  constructor(
    readonly file: string,
    readonly values: ReadonlyMap<string, MetadataValue>,
  ) {}

  string(key: string): string | undefined {
    return this.typed(key, "a string", (value) => typeof value === "string");
  }

  boolean(key: string): boolean | undefined {
    return this.typed(key, "a boolean", (value) => typeof value === "boolean");
  }

  /** Any finite number; 64-bit integers must be exact in a double. */
  number(key: string): number | undefined {
    const value = this.values.get(key);
    const number = typeof value === "bigint" ? Number(value) : value;
    if (number === undefined) return undefined;
    if (typeof number !== "number" || !Number.isFinite(number)) throw this.wrongType(key, "a finite number");
    return number;
  }

  /** Non-negative integer below 2^53. */
  integer(key: string): number | undefined {
    const value = this.number(key);
    if (value !== undefined && !(Number.isSafeInteger(value) && value >= 0)) {
      throw this.wrongType(key, "a non-negative integer");
    }
    return value;
  }

  strings(key: string): readonly string[] | undefined {
    return this.typed(key, "an array of strings", isArrayOf("string"));
  }

  numbers(key: string): readonly number[] | undefined {
    return this.typed(key, "an array of numbers", isArrayOf("number"));
  }

  /** @throws ModelFileError malformed when `value` is undefined. */
  require<T>(key: string, value: T | undefined): T {
    if (value === undefined) throw new ModelFileError("malformed", this.file, `metadata key "${key}" is missing`);
    return value;
  }

  private typed<T extends MetadataValue>(
    key: string,
    what: string,
    is: (value: MetadataValue) => value is T,
  ): T | undefined {
    const value = this.values.get(key);
    if (value === undefined) return undefined;
    if (!is(value)) throw this.wrongType(key, what);
    return value;
  }

  private wrongType(key: string, what: string): ModelFileError {
    return new ModelFileError("malformed", this.file, `metadata key "${key}" is not ${what}`);
  }
}

function isArrayOf(type: "string"): (value: MetadataValue) => value is readonly string[];
function isArrayOf(type: "number"): (value: MetadataValue) => value is readonly number[];
function isArrayOf(type: "string" | "number") {
  return (value: MetadataValue) => Array.isArray(value) && value.every((item) => typeof item === type);
}

/** @throws ModelFileError for duplicate keys, unknown types, nested arrays, counts and strings above their limits. */
export function readMetadata(cursor: Cursor, numKeys: bigint): Metadata {
  // Key length, one character, type and one byte of value.
  const minBytes = 14n;
  if (numKeys > MAX_KEYS) throw cursor.malformed("metadata count", `${numKeys} keys, the limit is ${MAX_KEYS}`);
  cursor.file.checkRange(BigInt(cursor.offset), numKeys * minBytes, "metadata");
  const values = new Map<string, MetadataValue>();
  for (let i = 0; i < Number(numKeys); i++) {
    const key = cursor.string(`metadata key ${i}`, MAX_KEY_BYTES);
    const field = `metadata "${key.slice(0, 100)}"`;
    if (values.has(key)) throw cursor.malformed(field, "duplicate key");
    values.set(key, readValue(cursor, field));
  }
  return new Metadata(cursor.file.path, values);
}

function readValue(cursor: Cursor, field: string): MetadataValue {
  const type = cursor.u32(field);
  if (type !== ARRAY_TYPE) return valueType(cursor, field, type).read(cursor, field);
  const itemType = valueType(cursor, field, cursor.u32(field));
  const length = cursor.count(field, MAX_ARRAY_LENGTH, itemType.minBytes);
  return Array.from({ length }, () => itemType.read(cursor, field));
}

function valueType(cursor: Cursor, field: string, type: number): ValueType {
  const found = VALUE_TYPES.get(type);
  if (found === undefined) {
    throw cursor.malformed(field, type === ARRAY_TYPE ? "array in an array" : `unknown value type ${type}`, 4);
  }
  return found;
}
