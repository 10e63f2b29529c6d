import { ModelFile } from "../model-file.ts";
import type { TensorExtent } from "../tensor-data.ts";
import { Cursor } from "./cursor.ts";
import { type Metadata, readMetadata } from "./metadata.ts";
import { checkTensorCount, readTensorInfos } from "./tensor-infos.ts";

const MAGIC = 0x46554747; // "GGUF", little endian
const DEFAULT_ALIGNMENT = 32;

/** A GGUF file whose header was read and checked in full; tensor data is read on demand. */
export interface GgufFile {
  readonly file: ModelFile;
  readonly version: number;
  readonly metadata: Metadata;
  readonly tensors: ReadonlyMap<string, TensorExtent>;
  /** Bytes from the start of the file to the end of the tensor records. */
  readonly headerBytes: number;
}

/**
 * Opens GGUF version 2 or 3, little endian.
 * Format: https://github.com/ggml-org/ggml/blob/master/docs/gguf.md
 * @throws ModelFileError when anything in the header is damaged, out of bounds or of a kind that is not supported.
 */
export function openGguf(path: string): GgufFile {
  const file = ModelFile.open(path);
  try {
    const cursor = new Cursor(file);
    const magic = cursor.u32("magic");
    if (magic !== MAGIC) throw cursor.malformed("magic", "not a GGUF file", 4);
    const version = readVersion(cursor);
    const numTensors = cursor.u64("tensor count");
    checkTensorCount(cursor, numTensors);
    const numKeys = cursor.u64("metadata count");
    const metadata = readMetadata(cursor, numKeys);
    const splits = metadata.integer("split.count") ?? 0;
    if (splits > 1) {
      throw file.error("unsupported", "split.count", 0, `one of ${splits} parts; join them with gguf-split --merge`);
    }
    const tensors = readTensorInfos(cursor, numTensors, readAlignment(cursor, metadata));
    const byName = new Map(tensors.map((tensor) => [tensor.name, tensor]));
    return { file, version, metadata, tensors: byName, headerBytes: cursor.offset };
  } catch (error) {
    file.close();
    throw error;
  }
}

function readVersion(cursor: Cursor): number {
  const version = cursor.u32("version");
  if (version === 2 || version === 3) return version;
  const bigEndian = (version & 0xffff) === 0;
  const found = bigEndian ? "big-endian file" : `version ${version}`;
  throw cursor.file.error("unsupported", "version", 4, `${found}; supported: versions 2 and 3, little endian`);
}

function readAlignment(cursor: Cursor, metadata: Metadata): number {
  const alignment = metadata.integer("general.alignment") ?? DEFAULT_ALIGNMENT;
  // A power of two has one bit set; 2^31 and above would also break the 32-bit test.
  if (alignment < 1 || alignment > 2 ** 30 || (alignment & (alignment - 1)) !== 0) {
    throw cursor.malformed("general.alignment", `${alignment} is not a power of two up to 2^30`);
  }
  return alignment;
}
