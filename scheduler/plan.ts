import type { BlockManager } from "../kvcache/block-manager.ts";
import { BLOCK_SIZE } from "../kvcache/ids.ts";
import { invariant } from "../kvcache/invariant.ts";
import { numTreeSlots, type ScheduledSequence, type TreeLimits } from "./output.ts";
import type { Sequence, SequenceState } from "./sequence.ts";

/**
 * Most of a step's rows that prompts may take while streams decode: the rest is left to the streams' drafts, and a stream's next
 * tokens never wait for more of a prompt than this.
 */
const PROMPT_SHARE = 0.5;

/**
 * Divides a step's rows: first one for every decode (one pending token), so that prompts never hold up running streams,
 * then prefill chunks, in the order given. Not in the answer: who gets none.
 */
export function assignRows<S extends Pick<SequenceState, "numPendingTokens">>(
  inTurn: readonly S[],
  tokenBudget: number,
): ReadonlyMap<S, number> {
  const decodes = inTurn.filter(({ numPendingTokens }) => numPendingTokens === 1);
  const rows = new Map(decodes.map((sequence) => [sequence, 1]));
  let numLeft = numPromptRows(decodes.length, tokenBudget);
  for (const sequence of inTurn) {
    if (rows.has(sequence) || numLeft === 0) continue;
    const chunk = Math.min(sequence.numPendingTokens, numLeft);
    rows.set(sequence, chunk);
    numLeft -= chunk;
  }
  return rows;
}

/** Rows that prompts may have in a step beside so many decodes; at least one where the budget has one left. */
function numPromptRows(numDecodes: number, tokenBudget: number): number {
  const numLeft = tokenBudget - numDecodes;
  return numDecodes === 0 ? numLeft : Math.min(numLeft, Math.ceil(tokenBudget * PROMPT_SHARE));
}

/** A sequence's next `numTokens` known tokens, without draft nodes so far; maxDraftDepth is the sequence's own bound. */
export function planKnownTokens(sequence: SequenceState, numTokens: number): ScheduledSequence {
  const needsSample = numTokens === sequence.numPendingTokens;
  return {
    sequence,
    startPosition: sequence.numComputedTokens,
    numTokens,
    rootPosition: sequence.numComputedTokens + numTokens - 1,
    needsSample,
    numLookaheadNodes: 0,
    maxDraftDepth: needsSample ? sequence.maxDraftDepth : 0,
  };
}

/** The decode of a sequence after `numAhead` steps whose results are not known yet. Each emits one token at least. */
export function planAhead(sequence: SequenceState, numAhead: number, limits: TreeLimits): ScheduledSequence {
  const position = sequence.numTokens - 1 + numAhead;
  return { sequence, startPosition: position, numTokens: 1, rootPosition: position, needsSample: true, ...limits };
}

/** Reserves what a decode may write whatever the `numAhead` steps before it emit. False where that might not fit. */
export function reserveAhead(
  { id, numTokens }: Sequence,
  numAhead: number,
  limits: TreeLimits,
  blocks: BlockManager,
  maxSequenceLen: number,
): boolean {
  const { maxDraftDepth } = limits;
  const mostTokens = numTokens + numAhead * (maxDraftDepth + 1);
  return mostTokens + maxDraftDepth + 1 <= maxSequenceLen && blocks.ensure(id, mostTokens + numTreeSlots(limits));
}

/**
 * Trees of one size for all decodes, whatever they may still generate: the size that is wanted, or the largest one that there are rows for;
 * undefined where there are none, or where slots or the model do not suffice. They share their rows if there are slots for that.
 */
export function reserveUniform(
  plans: readonly ScheduledSequence[],
  blocks: BlockManager,
  { numRows, limits }: LookaheadBudget,
  maxSequenceLen: number,
): ScheduledSequence[] | undefined {
  const { maxDraftDepth, mostLookaheadNodes } = limits;
  const numLookaheadNodes = Math.min(limits.numLookaheadNodes, Math.floor(numRows / plans.length));
  if (numLookaheadNodes === 0) return undefined;
  const reserve = (bounds: TreeLimits) => {
    const size = { ...bounds, maxDraftDepth: Math.min(maxDraftDepth, numTreeSlots(bounds)) };
    const hasRoom = plans.every(({ sequence }) => reserveAhead(sequence, 0, size, blocks, maxSequenceLen));
    return hasRoom ? plans.map((plan) => ({ ...plan, ...size })) : undefined;
  };
  const shared = mostLookaheadNodes === undefined ? undefined : reserve({ ...limits, numLookaheadNodes });
  return shared ?? reserve({ numLookaheadNodes, maxDraftDepth });
}

/** @param maxTreeNodes root included */
export function largestTrees(maxTreeNodes: number): TreeLimits {
  return { numLookaheadNodes: maxTreeNodes - 1, maxDraftDepth: maxTreeNodes - 1 };
}

/** What a step has left for draft nodes. */
export interface LookaheadBudget {
  readonly numRows: number;
  readonly limits: TreeLimits;
}

/**
 * Gives the sequences that may draft equal shares of the rows that are left, and reserves the slots. Where rows or
 * blocks are few, who came first drafts.
 */
export function reserveLookahead(
  plans: readonly ScheduledSequence[],
  blocks: BlockManager,
  { numRows, limits }: LookaheadBudget,
): ScheduledSequence[] {
  let numSharers = plans.filter(({ maxDraftDepth }) => maxDraftDepth > 0).length;
  let numLeft = numRows;
  return plans.map((plan) => {
    if (plan.maxDraftDepth === 0) return plan;
    const share = Math.min(limits.numLookaheadNodes, Math.ceil(numLeft / numSharers));
    const numLookaheadNodes = reserveUpTo(share, plan, blocks);
    numSharers -= 1;
    numLeft -= numLookaheadNodes;
    const maxDraftDepth = Math.min(plan.maxDraftDepth, limits.maxDraftDepth, numLookaheadNodes);
    return { ...plan, numLookaheadNodes, maxDraftDepth };
  });
}

/** Reserves slots for as many of `numNodes` draft nodes as free blocks allow: drafts never preempt anyone. */
function reserveUpTo(numNodes: number, { sequence, rootPosition }: ScheduledSequence, blocks: BlockManager): number {
  const numKnown = rootPosition + 1;
  const numSlots = blocks.numSlots(sequence.id) + blocks.numFreeBlocks * BLOCK_SIZE;
  const numReserved = Math.min(numNodes, numSlots - numKnown);
  invariant(blocks.ensure(sequence.id, numKnown + numReserved), "free blocks were counted wrong");
  return numReserved;
}
