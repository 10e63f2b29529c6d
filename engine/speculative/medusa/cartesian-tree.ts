import type { DraftTree } from "../draft-tree.ts";
import type { Candidate } from "../tree-builder.ts";
import { StaticTreeBuilder, type TreeShape } from "../tree-shape.ts";

/** A node that may come next: candidate `rank` of the head of its depth, below `parent`. */
interface Leaf {
  readonly parent: number;
  readonly depth: number;
  readonly rank: number;
  /** Log of the estimated probability that the walk gets here. */
  readonly score: number;
}

/**
 * The best nodes of the Cartesian product of the heads' candidates (Medusa, arXiv 2401.10774, section 2.1.2): a head does not know
 * what the ones before it said, so every node of a depth may have the same children, and a node's estimated probability
 * is the product along its path. Scores never rise with depth or rank, so best-first finds the `maxNodes − 1` best, and they
 * are closed under ancestors. Pure.
 * @param heads candidates of each depth, from 1 on; each best first and distinct
 */
export function cartesianTree(
  rootTokenId: number,
  heads: readonly (readonly Candidate[])[],
  { maxNodes, maxDepth }: { readonly maxNodes: number; readonly maxDepth: number },
): DraftTree {
  const tree = { tokenIds: [rootTokenId], parents: [-1], probs: [1], depths: [0] };
  const leaves: Leaf[] = [];
  const push = (parent: number, depth: number, rank: number, parentScore: number): void => {
    const candidate = depth > maxDepth ? undefined : heads[depth - 1]?.[rank];
    if (candidate === undefined || !(candidate.logSurvival > -Infinity)) return;
    // Rounded as on the device (wgsl/medusa_tree.wgsl), so that both build the same tree.
    const score = Math.fround(parentScore + Math.min(0, candidate.logSurvival));
    leaves.push({ parent, depth, rank, score });
  };
  const scores = [0];
  push(0, 1, 0, 0);
  while (tree.tokenIds.length < maxNodes) {
    const leaf = takeBest(leaves);
    if (leaf === undefined) break;
    const { parent, depth, rank, score } = leaf;
    const { tokenId, logSurvival } = heads[depth - 1]?.[rank] ?? { tokenId: 0, logSurvival: -Infinity };
    const node = tree.tokenIds.push(tokenId) - 1;
    tree.parents.push(parent);
    tree.probs.push(Math.exp(Math.min(0, logSurvival)));
    tree.depths.push(depth);
    scores.push(score);
    push(parent, depth, rank + 1, scores[parent] ?? 0);
    push(node, depth + 1, 0, score);
  }
  return tree;
}

/** The part of that product which has a shape. Pure. @param heads as above */
export function shapedTree(
  rootTokenId: number,
  heads: readonly (readonly Candidate[])[],
  shape: TreeShape,
  { maxNodes, maxDepth }: { readonly maxNodes: number; readonly maxDepth: number },
): DraftTree {
  const builder = new StaticTreeBuilder(shape, { rootTokenId, maxNodes, maxDepth });
  while (!builder.done) builder.expand(builder.frontier().map(({ depth }) => heads[depth] ?? []));
  return builder.build();
}

/** Removes and returns the leaf with the highest score, the first of equal ones. */
function takeBest(leaves: Leaf[]): Leaf | undefined {
  let best = 0;
  for (const [i, { score }] of leaves.entries()) if (score > (leaves[best]?.score ?? -Infinity)) best = i;
  return leaves.splice(best, 1)[0];
}
