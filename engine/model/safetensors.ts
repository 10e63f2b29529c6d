import { z } from "zod";
import type { ModelFileError } from "../errors.ts";
import { TENSOR_LAYOUTS } from "./dequantize.ts";
import { decodeUtf8, isJsonObject, type JsonObject, parseJson } from "./json.ts";
import { ModelFile } from "./model-file.ts";
import {
  checkNoOverlap,
  INTEGER_BYTES,
  type IntegerExtent,
  type IntegerType,
  type TensorExtent,
} from "./tensor-data.ts";
import type { TensorType } from "./types.ts";

/** The reference implementation's limit. */
const MAX_HEADER_BYTES = 100_000_000n;
const MAX_TENSORS = 65_536;
const MAX_DIMS = 4;
const TYPES: ReadonlyMap<string, TensorType> = new Map<string, TensorType>([
  ["F32", "F32"],
  ["F16", "F16"],
  ["BF16", "BF16"],
]);
const INTEGERS = Object.keys(INTEGER_BYTES);

/** A safetensors file whose header was read and checked in full; tensor data is read on demand. */
export interface SafetensorsFile {
  readonly file: ModelFile;
  /** Weights. */
  readonly tensors: ReadonlyMap<string, TensorExtent>;
  /** What is no weight: maps. */
  readonly integers: ReadonlyMap<string, IntegerExtent>;
  /** Bytes from the start of the file to the start of the data. */
  readonly headerBytes: number;
}

const size = z.number().int().nonnegative();
const entrySchema = z.object({
  dtype: z.string(),
  shape: z.array(size).max(MAX_DIMS),
  data_offsets: z.tuple([size, size]),
});

/**
 * Opens one safetensors file: header length u64, header JSON, data.
 * Format: https://github.com/huggingface/safetensors#format
 * @throws ModelFileError when the header is damaged, offsets do not match shape and dtype, or tensors overlap,
 *   leave a hole or do not end with the file.
 */
export function openSafetensors(path: string): SafetensorsFile {
  const file = ModelFile.open(path);
  try {
    const { header, dataStart } = readHeader(file);
    const entries = Object.entries(header).filter(([name]) => name !== "__metadata__");
    if (entries.length > MAX_TENSORS) {
      throw file.error("malformed", "header", 8, `${entries.length} tensors, the limit is ${MAX_TENSORS}`);
    }
    const extents = entries.map(([name, entry]) => readEntry(file, name, entry, dataStart));
    checkNoOverlap(file, extents);
    checkNoHoles(file, extents, dataStart);
    const tensors = extents.flatMap((one) => (isIntegers(one) ? [] : [[one.name, one] as const]));
    const integers = extents.flatMap((one) => (isIntegers(one) ? [[one.name, one] as const] : []));
    return { file, tensors: new Map(tensors), integers: new Map(integers), headerBytes: dataStart };
  } catch (error) {
    file.close();
    throw error;
  }
}

function readHeader(file: ModelFile): { header: JsonObject; dataStart: number } {
  const prefix = file.read(0, 8, "header length");
  const length = new DataView(prefix.buffer).getBigUint64(0, true);
  if (length > MAX_HEADER_BYTES) {
    throw file.error("malformed", "header length", 0, `${length} bytes, the limit is ${MAX_HEADER_BYTES}`);
  }
  file.checkRange(8n, length, "header");
  const header = parseJson(decodeUtf8(file.read(8, Number(length), "header"), file.path), file.path);
  if (!isJsonObject(header)) throw file.error("malformed", "header", 8, "not a JSON object");
  return { header, dataStart: 8 + Number(length) };
}

function isIntegers(extent: TensorExtent | IntegerExtent): extent is IntegerExtent {
  return isIntegerType(extent.type);
}

function isIntegerType(dtype: string): dtype is IntegerType {
  return INTEGERS.includes(dtype);
}

function readEntry(file: ModelFile, name: string, entry: unknown, dataStart: number): TensorExtent | IntegerExtent {
  const field = `tensor ${name.slice(0, 200)}`;
  const fail = (problem: string, code: ModelFileError["code"] = "malformed") => file.error(code, field, 8, problem);
  const parsed = entrySchema.safeParse(entry);
  if (!parsed.success) throw fail(`header entry does not fit: ${parsed.error.issues[0]?.message ?? ""}`);
  const { dtype, shape, data_offsets } = parsed.data;
  const type = isIntegerType(dtype) ? dtype : TYPES.get(dtype);
  if (type === undefined) {
    throw fail(`dtype ${dtype.slice(0, 20)}; supported: ${[...TYPES.keys(), ...INTEGERS].join(", ")}`, "unsupported");
  }
  const elementBytes = isIntegerType(type) ? INTEGER_BYTES[type] : TENSOR_LAYOUTS[type].blockBytes;
  const [begin, end] = data_offsets.map(BigInt) as [bigint, bigint];
  const numElements = shape.reduce((product, dim) => product * BigInt(dim), 1n);
  const numBytes = numElements * BigInt(elementBytes);
  if (end - begin !== numBytes) {
    throw fail(`data_offsets span ${end - begin} bytes, ${dtype} [${shape.join(", ")}] needs ${numBytes}`);
  }
  const offset = BigInt(dataStart) + begin;
  file.checkRange(offset, numBytes, field);
  const extent = {
    ...{ name, shape, offset: Number(offset) },
    ...{ numElements: Number(numElements), numBytes: Number(numBytes) },
  };
  return isIntegerType(type) ? { ...extent, type } : { ...extent, type };
}

/** The format has tensors cover the data section entirely, so that nothing can hide in a file. */
function checkNoHoles(file: ModelFile, tensors: readonly (TensorExtent | IntegerExtent)[], dataStart: number): void {
  const covered = tensors.reduce((total, tensor) => total + tensor.numBytes, dataStart);
  if (covered !== file.size) {
    throw file.error("malformed", "data", dataStart, `tensors cover ${covered} of the file's ${file.size} bytes`);
  }
}
