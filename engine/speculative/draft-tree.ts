import { invariant } from "../../kvcache/invariant.ts";

/**
 * Candidate continuations of a sequence, to be verified in one pass. Parallel arrays, one entry a node.
 * Node 0 is the root: the last known token, whose K/V is not computed yet. Parents precede their children, siblings are
 * distinct tokens.
 */
export interface DraftTree {
  readonly tokenIds: readonly number[];
  /** Parent's index, −1 for the root. */
  readonly parents: readonly number[];
  /** The drafter's estimate that a node is accepted, given that its parent is; in [0, 1], 1 for the root. Only a hint. */
  readonly probs: readonly number[];
  /** Edges to the root; a node's token is at the root's position + depth. */
  readonly depths: readonly number[];
  /** Names of the drafters that proposed a node, none for the root; absent where there is one drafter. */
  readonly proposers?: readonly (readonly string[])[];
}

/** The tree of a step that drafts nothing: a plain decode. */
export function rootOnly(tokenId: number): DraftTree {
  return { tokenIds: [tokenId], parents: [-1], probs: [1], depths: [0] };
}

/** A node's child that has a token, found through the parent pointers. */
export type ChildLookup = (node: number, tokenId: number) => number | undefined;

/** Children come after their parents, so that a walk down a tree looks at each node once, and nothing is prepared for it. */
export function childOf({ tokenIds, parents }: Pick<DraftTree, "tokenIds" | "parents">): ChildLookup {
  return (node, tokenId) => {
    for (let child = node + 1; child < tokenIds.length; child++) {
      if (parents[child] === node && tokenIds[child] === tokenId) return child;
    }
    return undefined;
  };
}

/** Of each node, the estimated probability that the walk gets to it: the product of `probs` along its path. */
export function survivals({ parents, probs }: DraftTree): number[] {
  const result = [1];
  for (let node = 1; node < probs.length; node++) result.push((probs[node] ?? 0) * (result[parents[node] ?? 0] ?? 1));
  return result;
}

/** Of each node, how many of its siblings come before it; 0 for the root. */
export function siblingRanks({ parents }: Pick<DraftTree, "parents">): number[] {
  const numChildren = parents.map(() => 0);
  return parents.map((parent) => {
    if (parent < 0) return 0;
    const rank = numChildren[parent] ?? 0;
    numChildren[parent] = rank + 1;
    return rank;
  });
}

/** Indices of the nodes from the root's child down to `node`; empty for the root. */
export function pathOf({ parents }: DraftTree, node: number): number[] {
  const path: number[] = [];
  for (let at = node; at > 0; at = parents[at] ?? 0) path.push(at);
  return path.reverse();
}

/** @throws InvariantError naming the node, where `tree` is not a draft tree. */
export function checkDraftTree({ tokenIds, parents, probs, depths, proposers }: DraftTree): void {
  const numNodes = tokenIds.length;
  invariant(numNodes > 0, "draft tree: no root");
  invariant(
    [parents, probs, depths, proposers ?? depths].every((array) => array.length === numNodes),
    () => `draft tree: arrays of ${[tokenIds, parents, probs, depths].map(({ length }) => length)} entries`,
  );
  const edges = new Set<string>();
  for (const [node, tokenId] of tokenIds.entries()) {
    const [parent = NaN, prob = NaN, depth = NaN] = [parents[node], probs[node], depths[node]];
    invariant(Number.isInteger(tokenId) && tokenId >= 0, () => `draft tree: node ${node} has token ${tokenId}`);
    invariant(prob >= 0 && prob <= 1, () => `draft tree: node ${node} has probability ${prob}`);
    if (node === 0) {
      invariant(parent === -1 && depth === 0 && prob === 1, "draft tree: the root has a parent, a depth or a doubt");
      continue;
    }
    invariant(
      Number.isInteger(parent) && parent >= 0 && parent < node,
      () => `draft tree: node ${node} has parent ${parent}`,
    );
    invariant(depth === (depths[parent] ?? NaN) + 1, () => `draft tree: node ${node} has depth ${depth}`);
    const edge = `${parent} ${tokenId}`;
    invariant(!edges.has(edge), () => `draft tree: node ${parent} has two children with token ${tokenId}`);
    edges.add(edge);
  }
}
