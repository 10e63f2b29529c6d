import { FixedTrees } from "../engine/speculative/budget/tree-policy.ts";
import { isPlain, type TreeLimits } from "../scheduler/output.ts";
import { randomWords } from "./random.ts";

/** Share of the sizes by which trees share their rows. */
const SHARED = 0.3;

/** Bounds up to the largest: as many nodes and levels as chance has it, and rows of each tree's own or shared. @param next by chance, in [0, 1) */
export function sizeByChance({ numLookaheadNodes: most, maxDraftDepth }: TreeLimits, next: () => number): TreeLimits {
  const upTo = (count: number) => 1 + Math.floor(count * next());
  const numLookaheadNodes = upTo(most);
  const size = { numLookaheadNodes, maxDraftDepth: upTo(Math.min(numLookaheadNodes, maxDraftDepth)) };
  return next() < SHARED ? { ...size, mostLookaheadNodes: most } : size;
}

/** From now on trees of fixed size have, in each step of a run on the device but the first, any size up to theirs. */
export function leaveSizesToChance(seed: number): void {
  const words = randomWords(seed);
  FixedTrees.prototype.next = function (limits) {
    return isPlain(limits) ? limits : sizeByChance(this.limits(), () => words() / 2 ** 32);
  };
}
