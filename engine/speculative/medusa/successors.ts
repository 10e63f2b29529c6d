import { type BufferPool, NO_TOKEN, type SuccessorEntries } from "../../../kernels/index.ts";
import type { Successors } from "../../model/successor-file.ts";

/**
 * How much a candidate's likelihood after the token before it counts beside the head's own word, which has seen some of it: chosen among
 * 0.4, 0.6 and 0.8 on texts of the bundled model, where each of them helps.
 */
const WEIGHT = 0.6;

/** A table that says nothing. */
export function noSuccessors(pool: BufferPool): SuccessorEntries {
  return entriesOf(pool, {
    numSuccessors: 0,
    tokenIds: [],
    logRatios: new Float32Array(),
    others: new Float32Array(1),
  });
}

/** The table on the device: each row's entries, then what holds for all other tokens. */
export function uploadSuccessors(pool: BufferPool, successors: Successors): SuccessorEntries {
  return entriesOf(pool, successors);
}

function entriesOf(pool: BufferPool, { numSuccessors, tokenIds, logRatios, others }: Successors): SuccessorEntries {
  const numRows = others.length;
  const words = new Uint32Array(2 * numRows * (numSuccessors + 1));
  const floats = new Float32Array(words.buffer);
  for (let row = 0; row < numRows; row++) {
    for (let i = 0; i <= numSuccessors; i++) {
      const at = 2 * (row * (numSuccessors + 1) + i);
      const isListed = i < numSuccessors;
      words[at] = (isListed ? tokenIds[row * numSuccessors + i] : NO_TOKEN) ?? NO_TOKEN;
      floats[at + 1] = WEIGHT * ((isListed ? logRatios[row * numSuccessors + i] : others[row]) ?? 0);
    }
  }
  return { buffer: pool.upload(words, "successors"), numRows, numSuccessors };
}
