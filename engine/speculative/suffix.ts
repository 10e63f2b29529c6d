import { type DraftTree, rootOnly } from "./draft-tree.ts";
import type { ProposeRequest, Proposer } from "./proposer.ts";
import { SuffixIndex } from "./suffix-index.ts";

/** Nodes that the walk gets to less often than this, by the estimate, cost more than they bring. */
const MIN_SURVIVAL = 0.15;
/** Weight of what has not been seen yet after a context of one token; it falls as 1 / length, as long contexts mislead less. */
const UNSEEN = 2;

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
 * Proposes what followed the text's last tokens where they stood before, in the sequence itself: prompt and output. After
 * SuffixDecoding (arXiv 2411.04975): all places with the longest match vote, and the tree takes the continuations that are
 * most likely by frequency. Needs no model; good where text repeats itself, such as in edits of code and in quotes.
 */
export class SuffixProposer implements Proposer {
  readonly name = "suffix";
  readonly #indices = new Map<string, SuffixIndex>();

  begin(id: string, tokenIds: readonly number[]): void {
    const index = new SuffixIndex();
    index.append(tokenIds);
    this.#indices.set(id, index);
  }

  async propose(requests: readonly ProposeRequest[]): Promise<readonly DraftTree[]> {
    return requests.map((request) => {
      const index = this.#indices.get(request.id);
      return index ? growTree(index, request) : rootOnly(request.tokenIds.at(-1) ?? 0);
    });
  }

  observe(id: string, tokenIds: readonly number[]): void {
    this.#indices.get(id)?.append(tokenIds);
  }

  end(id: string): void {
    this.#indices.delete(id);
  }

  close(): void {
    this.#indices.clear();
  }
}

/**
 * Best first: survival never rises with depth, so the nodes taken are the most likely ones of all continuations. Equal
 * ones are taken in the order found: of siblings, the one that was seen more recently.
 */
function growTree(index: SuffixIndex, { maxNodes, maxDepth, tokenIds: known }: ProposeRequest): DraftTree {
  const tree = { tokenIds: [known.at(-1) ?? 0], parents: [-1], probs: [1], depths: [0] };
  if (maxNodes <= 1 || maxDepth <= 0) return tree;
  const { matchLen, ends } = index.longestMatch();
  const leaves = childrenOf({ node: 0, depth: 0, path: [], ends, survival: 1 }, index.tokenIds, matchLen);
  while (tree.tokenIds.length < maxNodes) {
    const leaf = takeBest(leaves);
    if (leaf === undefined) break;
    const node = tree.tokenIds.push(leaf.tokenId) - 1;
    tree.parents.push(leaf.parent);
    tree.probs.push(leaf.prob);
    tree.depths.push(leaf.depth);
    if (leaf.depth < maxDepth) leaves.push(...childrenOf({ ...leaf, node }, index.tokenIds, matchLen));
  }
  return tree;
}

/**
 * Children by frequency. A child's probability is its count out of all, unseen ones included; so a single place survives ever
 * deeper the longer its match is. A place whose text ends goes on with the path itself, so that loops are continued.
 */
function childrenOf(branch: Branch, text: readonly number[], matchLen: number): Leaf[] {
  const { node, depth, path, ends, survival } = branch;
  const places = new Map<number, number[]>();
  for (const end of ends) {
    const at = end + depth;
    const tokenId = at < text.length ? text[at] : path[at - text.length];
    if (tokenId === undefined) continue;
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
