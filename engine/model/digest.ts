import { createHash } from "node:crypto";
import type { ModelFile } from "./model-file.ts";
import { sampleTensor, type TensorExtent } from "./tensor-data.ts";

/** What a digest looks at in a file of weights. */
interface HashedFile {
  readonly file: ModelFile;
  readonly tensors: ReadonlyMap<string, TensorExtent>;
  readonly headerBytes: number;
}

/** Headers are hashed in pieces of this size. */
const PIECE_BYTES = 1 << 20;

/**
 * SHA-256, hex, over each file's size, header and the first bytes of every tensor: two trainings of one shape differ
 * there, though sizes and headers agree. `extra` takes in what shapes the model but lies in another file.
 */
export function weightsDigest(files: readonly HashedFile[], extra: string = ""): string {
  const hash = createHash("sha256");
  hash.update(`${extra.length}\n${extra}`);
  for (const { file, tensors, headerBytes } of files) {
    hash.update(`${file.size} ${headerBytes}\n`);
    for (let at = 0; at < headerBytes; at += PIECE_BYTES) {
      hash.update(file.read(at, Math.min(PIECE_BYTES, headerBytes - at), "header"));
    }
    for (const tensor of tensors.values()) hash.update(sampleTensor(file, tensor));
  }
  return hash.digest("hex");
}
