import { numBlocksFor } from "../../kvcache/ids.ts";
import type { ModelRunner, RunnerOptions } from "../runner/model-runner.ts";
import type { TreeShape } from "./tree-shape.ts";

/** Bounds of the trees that a drafter is asked for. */
export interface TreeSizes {
  readonly maxNumSeqs: number;
  /** Root included. */
  readonly treeNodes: number;
  readonly treeDepth: number;
  /** Children of a node, and nodes that a level of a dynamic tree expands. */
  readonly treeTopK: number;
  /** There where trees have a shape: it alone says how many nodes a level expands. */
  readonly tree?: readonly number[] | "sequoia";
}

/** Deepest that a node of a tree can be. */
export function deepest({ treeNodes, treeDepth }: Pick<TreeSizes, "treeNodes" | "treeDepth">): number {
  return Math.min(treeDepth, treeNodes - 1);
}

/** Slots behind the known tokens: every level but the deepest expands topK nodes, or a shape of the tree says what is expanded. */
export function numLookahead(topK: number, depth: number, shape?: TreeShape): number {
  return shape ? shape.parents.length : topK * Math.max(0, depth - 1);
}

/** Of the passes of a decoder with K and V of its own that drafts `topK` candidates of a node beside such a target. */
export function draftRunnerOptions(
  { options: { maxRows, maxModelLen, numBlocks }, requestSampling }: Pick<ModelRunner, "options" | "requestSampling">,
  { maxNumSeqs, treeNodes, treeDepth, treeTopK, tree }: TreeSizes,
  topK: number,
): RunnerOptions {
  const numExpanded = tree === undefined ? treeTopK : treeNodes;
  const numSlots = numLookahead(numExpanded, treeDepth);
  // A level has a row for every node of every sequence that it expands.
  const maxLogits = maxNumSeqs * numExpanded;
  const longest = Math.min(numBlocksFor(maxModelLen + numSlots), numBlocks);
  return {
    ...{ maxModelLen, numBlocks, maxLogits, topK, requestSampling },
    // On the device all sequences take in what their last steps emitted at once.
    maxRows: Math.max(maxRows, maxLogits, maxNumSeqs * (1 + deepest({ treeNodes, treeDepth }))),
    maxTableWords: maxNumSeqs * longest + maxLogits * treeDepth,
  };
}
