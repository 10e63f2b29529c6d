import { FixedTrees } from "../engine/speculative/budget/tree-policy.ts";
import { isPlain, type TreeLimits } from "../scheduler/output.ts";
import { randomWords } from "./random.ts";

/** Share of the sizes by which trees share their rows. */
const SHARED = 0.3;

/** Bounds up to the largest: as many nodes and levels as chance has it, and rows of each tree's own or shared. @param next 32 bits by chance */
export function sizeByChance({ numLookaheadNodes: most, maxDraftDepth }: TreeLimits, next: () => number): TreeLimits {
  const share = () => next() / 2 ** 32;
  const upTo = (count: number) => 1 + Math.floor(count * share());
  const numLookaheadNodes = upTo(most);
  const size = { numLookaheadNodes, maxDraftDepth: upTo(Math.min(numLookaheadNodes, maxDraftDepth)) };
  return share() < SHARED ? { ...size, mostLookaheadNodes: most } : size;
}

/** From now on trees of fixed size have, in each step of a run on the device but the first, any size up to theirs. */
export function leaveSizesToChance(seed: number): void {
  const next = randomWords(seed);
  FixedTrees.prototype.next = function (limits) {
    return isPlain(limits) ? limits : sizeByChance(this.limits(), next);
  };
}
