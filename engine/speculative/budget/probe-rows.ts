import { BLOCK_SIZE, numBlocksFor } from "../../../kvcache/ids.ts";
import type { BatchSequence } from "../../runner/batch.ts";
import { GREEDY } from "../../sampling-params.ts";

/**
 * Rows that show what a pass takes: a token after `context` others and, as its children, the rest of a tree. They read blocks of the
 * cache as they are, each sequence others, as far as there are so many; and write the reserved block alone.
 * @param context a multiple of the block size
 * @param numNodes of the tree, root included
 * @param numBlocks of the cache
 */
export function probeRows(index: number, context: number, numNodes: number, numBlocks: number): BatchSequence {
  const numRead = context / BLOCK_SIZE;
  const read = Array.from({ length: numRead }, (_, i) => 1 + ((index * numRead + i) % (numBlocks - 1)));
  const written = Array.from({ length: numBlocksFor(numNodes) }, () => 0);
  const nodes = (root: number, others: number) => Array.from({ length: numNodes }, (_, i) => (i === 0 ? root : others));
  return {
    ...{ tokenIds: [], startPosition: context, numTokens: 1, rootPosition: context },
    blockTable: [...read, ...written],
    tree: { tokenIds: nodes(0, 0), parents: nodes(-1, 0), depths: nodes(0, 1), firstNode: 1 },
    sampling: { params: GREEDY, choice: 0 },
  };
}
