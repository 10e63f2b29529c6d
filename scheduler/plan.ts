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

/** The decode of a sequence after `numAhead` steps whose results are not known yet, without draft nodes so far. Each emits one token at least. */
export function planAhead(sequence: SequenceState, numAhead: number): ScheduledSequence {
  const position = sequence.numTokens - 1 + numAhead;
  const places = { startPosition: position, numTokens: 1, rootPosition: position };
  return { sequence, ...places, needsSample: true, numLookaheadNodes: 0, maxDraftDepth: 0 };
}

/**
 * Trees of one size for all decodes, whatever they may still generate: the size that is wanted, or the largest one that there are rows for;
 * undefined where there are none, or where slots or the model do not suffice. They share their rows if there are slots for that.
 * @param mostNodes draft nodes of each for which there are rows
 * @param reserve slots of a sequence for trees of these bounds; false where they or the model do not suffice
 */
export function reserveUniform(
  plans: readonly ScheduledSequence[],
  limits: TreeLimits,
  mostNodes: number,
  reserve: (sequence: Sequence, bounds: TreeLimits) => boolean,
): ScheduledSequence[] | undefined {
  const { maxDraftDepth, mostLookaheadNodes } = limits;
  const numLookaheadNodes = Math.min(limits.numLookaheadNodes, mostNodes);
  if (numLookaheadNodes < Math.min(1, limits.numLookaheadNodes)) return undefined;
  const reserveAll = (bounds: TreeLimits) => {
    const size = { ...bounds, maxDraftDepth: Math.min(maxDraftDepth, numTreeSlots(bounds)) };
    const hasRoom = plans.every(({ sequence }) => reserve(sequence, size));
    return hasRoom ? plans.map((plan) => ({ ...plan, ...size })) : undefined;
  };
  const shared = mostLookaheadNodes === undefined ? undefined : reserveAll({ ...limits, numLookaheadNodes });
  return shared ?? reserveAll({ numLookaheadNodes, maxDraftDepth });
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
