import type { BlockHash, HashChain } from "./hash-chain.ts";
import { BLOCK_SIZE, type BlockId } from "./ids.ts";

/** One sequence's share of the cache: slot i of the sequence is offset i mod 16 of block i div 16 of its table. */
export interface Table {
  readonly blocks: BlockId[];
  /** Leading slots that hold final K/V. */
  numComputedTokens: number;
  /** Names its blocks' contents; undefined where nobody else is to find them. */
  readonly chain: HashChain | undefined;
  /** Leading blocks whose content can be found by others. */
  numPublished: number;
  /** Nothing more of it is to be found. */
  distrusted: boolean;
}

/** What block `index` of the table holds; undefined unless that is final and has a name. */
export function contentOf({ chain, numComputedTokens }: Table, index: number): BlockHash | undefined {
  return (index + 1) * BLOCK_SIZE <= numComputedTokens ? chain?.at(index) : undefined;
}

/** Whether the table has slots for the first `numTokens` tokens of `chain`'s text, under its salt: they hold the K/V, or will. */
export function beginsWith({ blocks, chain: own, distrusted }: Table, chain: HashChain, numTokens: number): boolean {
  if (own === undefined || distrusted || numTokens > blocks.length * BLOCK_SIZE) return false;
  const index = Math.floor(numTokens / BLOCK_SIZE);
  if (numTokens > own.tokenIds.length || own.before(index) !== chain.before(index)) return false;
  for (let i = index * BLOCK_SIZE; i < numTokens; i++) {
    if (own.tokenIds[i] !== chain.tokenIds[i]) return false;
  }
  return true;
}
