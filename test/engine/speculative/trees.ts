import fc from "fast-check";
import type { DraftTree } from "../../../engine/speculative/draft-tree.ts";

/** A tree from wishes for children: `[parent, token]` each, dropped where the parent has that child already. */
export function treeFrom(rootTokenId: number, wishes: readonly (readonly [number, number])[]): DraftTree {
  const tree = { tokenIds: [rootTokenId], parents: [-1], probs: [1], depths: [0] };
  for (const [wish, tokenId] of wishes) {
    const parent = wish % tree.tokenIds.length;
    if (tree.tokenIds.some((token, node) => token === tokenId && tree.parents[node] === parent)) continue;
    tree.tokenIds.push(tokenId);
    tree.parents.push(parent);
    tree.probs.push(0.5);
    tree.depths.push((tree.depths[parent] ?? 0) + 1);
  }
  return tree;
}

/** Any draft tree over a vocabulary, chains and bushes alike. */
export function draftTrees(vocabSize: number, maxNodes: number): fc.Arbitrary<DraftTree> {
  const token = fc.nat(vocabSize - 1);
  const wish = fc.tuple(fc.nat(4 * maxNodes), token);
  return fc.tuple(token, fc.array(wish, { maxLength: maxNodes - 1 })).map(([root, wishes]) => treeFrom(root, wishes));
}
