import type { DraftTree } from "./draft-tree.ts";
import type { ProposeRequest } from "./proposer.ts";
import { type SuffixIndex, TEXT_END } from "./suffix-index.ts";

/** Nodes that the walk gets to less often than this, by the estimate, cost more than they bring. */
const MIN_SURVIVAL = 0.15;
/** Weight of what has not been seen yet after a context of one token; it falls as 1 / length, as long contexts mislead less. */
const UNSEEN = 2;

/** A tree of what followed a match, and how much is expected of it. */
export interface SuffixTree {
  readonly tree: DraftTree;
  readonly matchLen: number;
  /** Σ survival over the nodes below the root: tokens that the walk is expected to accept. */
  readonly score: number;
}

/** A continuation of the text: the places that agree with it so far, and what is known of it. */
interface Branch {
  readonly node: number;
  readonly depth: number;
  /** Tokens below the root. */
  readonly path: readonly number[];
  readonly ends: readonly number[];
  readonly survival: number;
}

/** A node that may come next, before it has its place in the tree. */
interface Leaf extends Omit<Branch, "node"> {
  readonly tokenId: number;
  readonly parent: number;
  readonly prob: number;
}

/**
 * Continuations of the places where `context`, the request's known text, matches the index the longest.
 *
 * Best first: survival never rises with depth, so the nodes taken are the most likely ones of all continuations. Equal
 * ones are taken in the order found: of siblings, the one that was seen more recently.
 */
export function growSuffixTree(
  index: SuffixIndex,
  context: readonly number[],
  { maxNodes, maxDepth }: Pick<ProposeRequest, "maxNodes" | "maxDepth">,
): SuffixTree {
  const tree = { tokenIds: [context.at(-1) ?? 0], parents: [-1], probs: [1], depths: [0] };
  if (maxNodes <= 1 || maxDepth <= 0) return { tree, matchLen: 0, score: 0 };
  const { matchLen, ends } = index.longestMatch(context);
  const leaves = childrenOf({ node: 0, depth: 0, path: [], ends, survival: 1 }, index, matchLen);
  let score = 0;
  while (tree.tokenIds.length < maxNodes) {
    const leaf = takeBest(leaves);
    if (leaf === undefined) break;
    const node = tree.tokenIds.push(leaf.tokenId) - 1;
    tree.parents.push(leaf.parent);
    tree.probs.push(leaf.prob);
    tree.depths.push(leaf.depth);
    score += leaf.survival;
    if (leaf.depth < maxDepth) leaves.push(...childrenOf({ ...leaf, node }, index, matchLen));
  }
  return { tree, matchLen, score };
}

/**
 * Children by frequency. A child's probability is its count out of all, unseen ones included; so a single place survives ever
 * deeper the longer its match is. A place that reaches the end of the growing text goes on with the path itself, so that loops
 * are continued.
 */
function childrenOf(branch: Branch, index: SuffixIndex, matchLen: number): Leaf[] {
  const { node, depth, path, ends, survival } = branch;
  const places = new Map<number, number[]>();
  for (const end of ends) {
    const at = end + depth;
    const tokenId = at < index.numTokens ? index.at(at) : (path[at - index.numTokens] ?? TEXT_END);
    if (tokenId === TEXT_END) continue;
    const same = places.get(tokenId);
    if (same) same.push(end);
    else places.set(tokenId, [end]);
  }
  return [...places]
    .map(([tokenId, sameEnds]) => {
      const prob = sameEnds.length / (ends.length + UNSEEN / (matchLen + depth));
      const child = { depth: depth + 1, path: [...path, tokenId], ends: sameEnds, survival: survival * prob };
      return { ...child, tokenId, parent: node, prob };
    })
    .filter((leaf) => leaf.survival >= MIN_SURVIVAL)
    .sort((a, b) => b.prob - a.prob);
}

/** Removes and returns the leaf with the highest survival, the first of equal ones. */
function takeBest(leaves: Leaf[]): Leaf | undefined {
  const best = leaves.reduce((at, { survival }, i) => (survival > (leaves[at]?.survival ?? 0) ? i : at), 0);
  return leaves.splice(best, 1)[0];
}
