import { childOf, type DraftTree } from "./draft-tree.ts";

export interface WalkResult {
  /** Indices of the accepted nodes, root excluded, in ascending depth. */
  readonly path: readonly number[];
  /** The accepted nodes' tokens, then the bonus token: `path.length + 1` tokens. */
  readonly tokenIds: readonly number[];
}

/**
 * Target walk: the acceptance rule of speculative decoding by sampling the target along the tree.
 *
 * Starting at the root, emit what the target sampled at the node; while the node has a child with that token, go on
 * from the child. The token that no child has is the bonus token. Whatever the tree, the emitted tokens are the ones
 * that plain decoding draws: `sampled[node]` is a draw from the target's distribution after the node's own prefix, with
 * randomness that belongs to the position, and candidates only decide how far the walk gets. Nothing else is looked at:
 * not the draft's probabilities, not how candidates were chosen. Hence exact for any candidate set, at any temperature;
 * greedy decoding is temperature 0. This is the naive sampling of SpecInfer (arXiv 2305.09781, section 4.3).
 *
 * Children are matched by parent pointer: the same token may stand at the same depth of two branches.
 *
 * @param sampled `[numNodes]`: what the target sampled as successor of each node
 */
export function walkTree(tree: DraftTree, sampled: ArrayLike<number>): WalkResult {
  const child = childOf(tree);
  const path: number[] = [];
  const tokenIds: number[] = [];
  for (let node: number | undefined = 0; node !== undefined; ) {
    const tokenId: number | undefined = sampled[node];
    if (tokenId === undefined) throw new Error(`invariant: nothing was sampled at node ${node} of the draft tree`);
    tokenIds.push(tokenId);
    node = child(node, tokenId);
    if (node !== undefined) path.push(node);
  }
  return { path, tokenIds };
}

/** The nodes that a walk passed, root first, when it emitted `tokenIds`: each of these was sampled at the node of its index. */
export function walkedNodes(tree: Pick<DraftTree, "tokenIds" | "parents">, tokenIds: readonly number[]): number[] {
  const child = childOf(tree);
  const nodes = [0];
  for (const tokenId of tokenIds) {
    const node = child(nodes.at(-1) ?? 0, tokenId);
    if (node === undefined) break;
    nodes.push(node);
  }
  return nodes;
}
