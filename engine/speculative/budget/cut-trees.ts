import { type DraftTree, survivals } from "../draft-tree.ts";

export interface Cut {
  /** Of each tree, in the order given, the nodes that stay, the root among them. */
  readonly kept: readonly ReadonlySet<number>[];
  /** What the nodes that stay are expected to bring over what they cost, in tokens; 0 where none stays. */
  readonly gain: number;
}

/**
 * One node budget for the trees of a step. Candidates of all sequences are ranked by survival, and as many of them stay as bring
 * the most accepted tokens less what their time is worth: a node stays while the token that it promises takes less time than
 * tokens take on average. Survival never rises with depth and of equal ones the lower index comes first, so what stays is closed
 * under ancestors.
 *
 * @param trees with calibrated `probs`
 * @param verifyMs what a step costs in which so many nodes stay, roots left out
 * @param tokensPerMs what time is worth: the rate at which the batch goes on otherwise
 */
export function cutTrees(
  trees: readonly DraftTree[],
  verifyMs: (numNodes: number) => number,
  tokensPerMs: number,
): Cut {
  const candidates = trees.flatMap((tree, sequence) => {
    const survival = survivals(tree);
    return tree.tokenIds.slice(1).map((_, i) => ({ sequence, node: i + 1, survival: survival[i + 1] ?? 0 }));
  });
  candidates.sort((a, b) => b.survival - a.survival || a.sequence - b.sequence || a.node - b.node);
  const baseMs = verifyMs(0);
  let [gain, numKept, sum] = [0, 0, 0];
  for (const [i, { survival }] of candidates.entries()) {
    sum += survival;
    const net = sum - tokensPerMs * (verifyMs(i + 1) - baseMs);
    if (net > gain) [gain, numKept] = [net, i + 1];
  }
  const kept = trees.map(() => new Set([0]));
  for (const { sequence, node } of candidates.slice(0, numKept)) kept[sequence]?.add(node);
  return { kept, gain };
}

/** The tree of some of its nodes, which are closed under ancestors. */
export function keepNodes(tree: DraftTree, nodes: ReadonlySet<number>): DraftTree {
  if (nodes.size === tree.tokenIds.length) return tree;
  const kept = [...tree.tokenIds.keys()].filter((node) => nodes.has(node));
  const places = new Map(kept.map((node, place) => [node, place]));
  const pick = <T>(values: readonly T[]) => values.filter((_, node) => nodes.has(node));
  return {
    tokenIds: pick(tree.tokenIds),
    parents: pick(tree.parents).map((parent) => places.get(parent) ?? -1),
    probs: pick(tree.probs),
    depths: pick(tree.depths),
    ...(tree.proposers ? { proposers: pick(tree.proposers) } : {}),
  };
}
