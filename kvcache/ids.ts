/** Tokens whose K/V one block holds. */
export const BLOCK_SIZE = 16;

/** Index of a block in the K/V storage. Block 0 is never allocated: out-of-range block-table reads land there. */
export type BlockId = number & { readonly __brand: "BlockId" };

/** Index of one token's K/V in the storage: blockId · BLOCK_SIZE + offset. */
export type SlotId = number & { readonly __brand: "SlotId" };

/** A copy of what one slot holds, its K and V and whatever lies beside them, to another. */
export interface SlotMove {
  readonly from: number;
  readonly to: number;
}

/** Blocks that `numTokens` slots need. */
export function numBlocksFor(numTokens: number): number {
  return Math.ceil(numTokens / BLOCK_SIZE);
}

export function slotOf(block: BlockId, offset: number): SlotId {
  return (block * BLOCK_SIZE + offset) as SlotId;
}
