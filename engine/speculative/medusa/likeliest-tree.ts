import type { MedusaChild } from "../../../kernels/index.ts";
import type { DraftTree } from "../draft-tree.ts";
import { StaticTreeBuilder, type TreeShape } from "../tree-shape.ts";

/**
 * What the heads propose below a node of this depth, best first and distinct.
 * @param rank the node's own, as `MedusaChild.rank`; 0 for the root
 */
export type ChildrenOf = (depth: number, rank: number) => readonly MedusaChild[];

/** A node that may come next: the child at `place` of those of `parent`. */
interface Leaf {
  readonly parent: number;
  readonly place: number;
  readonly child: MedusaChild;
  /** Log of the estimated probability that the walk gets here. */
  readonly score: number;
}

/**
 * The best nodes of all paths through the heads' candidates (Medusa, arXiv 2401.10774, section 2.1.2): a node's estimated probability is
 * the product along its path. Scores never rise along a path or from one child to the next, so best-first finds the
 * `maxNodes − 1` best, and they are closed under ancestors. Pure.
 */
export function likeliestTree(
  rootTokenId: number,
  children: ChildrenOf,
  { maxNodes, maxDepth }: { readonly maxNodes: number; readonly maxDepth: number },
): DraftTree {
  const tree = { tokenIds: [rootTokenId], parents: [-1], probs: [1], depths: [0] };
  const [scores, ranks] = [[0], [0]];
  const leaves: Leaf[] = [];
  const push = (parent: number, place: number): void => {
    const depth = tree.depths[parent] ?? 0;
    const child = depth < maxDepth ? children(depth, ranks[parent] ?? 0)[place] : undefined;
    if (child === undefined || !(child.logSurvival > -Infinity)) return;
    // Rounded as on the device (wgsl/medusa_tree.wgsl), so that both build the same tree.
    const score = Math.fround((scores[parent] ?? 0) + Math.min(0, child.logSurvival));
    leaves.push({ parent, place, child, score });
  };
  push(0, 0);
  while (tree.tokenIds.length < maxNodes) {
    const leaf = takeBest(leaves);
    if (leaf === undefined) break;
    const { parent, place, child, score } = leaf;
    const node = tree.tokenIds.push(child.tokenId) - 1;
    tree.parents.push(parent);
    tree.probs.push(Math.exp(Math.min(0, child.logSurvival)));
    tree.depths.push((tree.depths[parent] ?? 0) + 1);
    scores.push(score);
    ranks.push(child.rank);
    push(parent, place + 1);
    push(node, 0);
  }
  return tree;
}

/** The part of those paths which has a shape. Pure. */
export function shapedTree(
  rootTokenId: number,
  children: ChildrenOf,
  shape: TreeShape,
  { maxNodes, maxDepth }: { readonly maxNodes: number; readonly maxDepth: number },
): DraftTree {
  const builder = new StaticTreeBuilder(shape, { rootTokenId, maxNodes, maxDepth });
  // All nodes of a depth choose among the same candidates, whatever is above them.
  const rankOf = (depth: number, tokenId: number) =>
    depth === 0 ? 0 : (children(depth - 1, 0).find((child) => child.tokenId === tokenId)?.rank ?? 0);
  while (!builder.done) {
    builder.expand(builder.frontier().map(({ depth, tokenId }) => children(depth, rankOf(depth, tokenId))));
  }
  return builder.build();
}

/** Removes and returns the leaf with the highest score, the first of equal ones. */
function takeBest(leaves: Leaf[]): Leaf | undefined {
  let best = 0;
  for (const [i, { score }] of leaves.entries()) if (score > (leaves[best]?.score ?? -Infinity)) best = i;
  return leaves.splice(best, 1)[0];
}
