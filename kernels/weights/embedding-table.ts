import type { BufferPool } from "../buffers.ts";
import { GpuError } from "../errors.ts";
import type { Binding } from "../kernel.ts";
import { cutOutputs } from "./packed-matrix.ts";

/** Rows `firstToken … firstToken + numTokens − 1` of an embedding, in the family's storage type [numTokens, hiddenSize]. */
export interface EmbeddingPart {
  readonly rows: Binding;
  readonly firstToken: number;
  readonly numTokens: number;
}

/** An embedding on the device: one part, unless it is larger than what can be bound as one buffer. */
export type EmbeddingTable = readonly EmbeddingPart[];

/**
 * Makes the buffers of an embedding.
 * @param rowBytes of one token
 * @param make the buffer of rows `first … first + count − 1`
 */
export function embeddingTable(
  pool: BufferPool,
  vocabSize: number,
  rowBytes: number,
  make: (first: number, count: number, label: string) => GPUBuffer,
): EmbeddingTable {
  const cuts = cutOutputs(pool, vocabSize, rowBytes);
  return cuts.map(({ firstOutput: firstToken, numOutputs: numTokens }) => {
    const label = cuts.length === 1 ? "embedding" : `embedding, tokens from ${firstToken}`;
    return { rows: make(firstToken, numTokens, label), firstToken, numTokens };
  });
}

/** For kernels that read a table as a whole. @throws GpuError out_of_memory where it has several parts */
export function wholeTable(table: EmbeddingTable): Binding {
  const [first, second] = table;
  if (first !== undefined && second === undefined) return first.rows;
  const message = `this drafter reads the embedding as one buffer, which the adapter binds only in ${table.length} parts; use another --drafter`;
  throw new GpuError("out_of_memory", message);
}
