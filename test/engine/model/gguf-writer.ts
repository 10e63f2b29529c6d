/** A metadata value with the type it is written as; a list is an array of one type. */
export interface TypedValue {
  readonly type: keyof typeof TYPE_IDS;
  readonly value: Plain | readonly Plain[];
}
type Plain = string | number | bigint | boolean;

export interface GgufTensor {
  readonly name: string;
  /** ggml's id of the type: 0 is F32, 8 is Q8_0, and so on. */
  readonly typeId: number;
  /** Outermost first. */
  readonly shape: readonly number[];
  readonly data: Uint8Array;
}

export interface GgufContents {
  readonly version?: number;
  readonly alignment?: number;
  readonly metadata: Readonly<Record<string, TypedValue>>;
  readonly tensors: readonly GgufTensor[];
}

const TYPE_IDS = {
  ...{ u8: 0, i8: 1, u16: 2, i16: 3, u32: 4, i32: 5, f32: 6, bool: 7, string: 8, u64: 10, i64: 11, f64: 12 },
} as const;

/** Bytes of a GGUF file, written after the format's description and without the reader's help. */
export function writeGguf({ version = 3, alignment = 32, metadata, tensors }: GgufContents): Buffer {
  const pairs = Object.entries(metadata);
  const offsets: number[] = [];
  let dataBytes = 0;
  for (const { data } of tensors) {
    offsets.push(dataBytes);
    dataBytes = padded(dataBytes + data.length, alignment);
  }
  const header = Buffer.concat([
    Buffer.from("GGUF"),
    ...[number("u32", version), number("u64", BigInt(tensors.length)), number("u64", BigInt(pairs.length))],
    ...pairs.map(([key, value]) => Buffer.concat([text(key), typedValue(value)])),
    ...tensors.map((tensor, i) => tensorInfo(tensor, offsets[i] ?? 0)),
  ]);
  const last = tensors.at(-1);
  const dataStart = padded(header.length, alignment);
  const file = Buffer.alloc(dataStart + (offsets.at(-1) ?? 0) + (last?.data.length ?? 0));
  header.copy(file);
  for (const [i, { data }] of tensors.entries()) file.set(data, dataStart + (offsets[i] ?? 0));
  return file;
}

function tensorInfo({ name, typeId, shape }: GgufTensor, offset: number): Buffer {
  return Buffer.concat([
    ...[text(name), number("u32", shape.length), ...shape.toReversed().map((dim) => number("u64", BigInt(dim)))],
    ...[number("u32", typeId), number("u64", BigInt(offset))],
  ]);
}

function typedValue({ type, value }: TypedValue): Buffer {
  const id = number("u32", TYPE_IDS[type]);
  if (!Array.isArray(value)) return Buffer.concat([id, scalar(type, value as Plain)]);
  const items = value.map((item: Plain) => scalar(type, item));
  return Buffer.concat([number("u32", 9), id, number("u64", BigInt(items.length)), ...items]);
}

function scalar(type: TypedValue["type"], value: Plain): Buffer {
  if (type === "string") return text(String(value));
  return number(type, type === "u64" || type === "i64" ? BigInt(value) : Number(value));
}

function text(value: string): Buffer {
  const bytes = Buffer.from(value);
  return Buffer.concat([number("u64", BigInt(bytes.length)), bytes]);
}

function number(type: Exclude<TypedValue["type"], "string">, value: number | bigint): Buffer {
  const bytes = Buffer.alloc(8);
  const write: Readonly<Record<typeof type, (plain: number, big: bigint) => number>> = {
    u8: (n) => bytes.writeUInt8(n),
    i8: (n) => bytes.writeInt8(n),
    u16: (n) => bytes.writeUInt16LE(n),
    i16: (n) => bytes.writeInt16LE(n),
    u32: (n) => bytes.writeUInt32LE(n),
    i32: (n) => bytes.writeInt32LE(n),
    f32: (n) => bytes.writeFloatLE(n),
    bool: (n) => bytes.writeUInt8(n),
    u64: (_, b) => bytes.writeBigUInt64LE(b),
    i64: (_, b) => bytes.writeBigInt64LE(b),
    f64: (n) => bytes.writeDoubleLE(n),
  };
  const end = write[type](Number(value), typeof value === "bigint" ? value : 0n);
  return bytes.subarray(0, end);
}

function padded(length: number, alignment: number): number {
  return Math.ceil(length / alignment) * alignment;
}
