import type { DraftTree } from "../draft-tree.ts";
import { walkedNodes } from "../walk.ts";

/** A tree that was drafted, and what the walk did with what was verified of it. */
export interface VerifiedDraft {
  /** As drafted: with the nodes that were cut before verification. */
  readonly tree: DraftTree;
  /** Nodes that were verified, the root among them; all of them where it is absent. */
  readonly kept?: ReadonlySet<number> | undefined;
  /** Accepted tokens, then the bonus token. */
  readonly tokenIds: readonly number[];
  /** Most nodes that the tree could have had, root included. */
  readonly maxNodes: number;
  readonly maxDepth: number;
}

/** With what the walk told of the tree's nodes, found once for all that learn from it. */
export interface JudgedDraft extends VerifiedDraft {
  /**
   * Of each node, whether it is on the text's way: 1 or 0. The bonus token may lead to a node that had been cut; what would have
   * come below it is not known, and expected as the drafter did.
   */
  readonly outcomes: readonly number[];
  /** Nodes but the root of which it is known whether the target drew them, given that it got to their parent. */
  readonly tested: readonly { readonly node: number; readonly accepted: boolean }[];
}

export function judged(draft: VerifiedDraft): JudgedDraft {
  const { tree, kept, tokenIds, maxNodes, maxDepth } = draft;
  const walked = walkedNodes(tree, tokenIds);
  const last = walked.at(-1) ?? 0;
  const unknownBelow = kept === undefined || kept.has(last) ? undefined : last;
  const outcomes = tree.parents.map(() => 0);
  for (const node of walked) outcomes[node] = 1;
  const isUnknown = tree.parents.map(() => false);
  const tested: { node: number; accepted: boolean }[] = [];
  for (let node = 1; node < outcomes.length; node++) {
    const parent = tree.parents[node] ?? 0;
    const outcome = outcomes[parent] ?? 0;
    if (parent === unknownBelow || isUnknown[parent]) {
      isUnknown[node] = true;
      outcomes[node] = outcome * (tree.probs[node] ?? 0);
    } else if (outcome > 0) tested.push({ node, accepted: outcomes[node] === 1 });
  }
  return { outcomes, tested, tree, kept, tokenIds, maxNodes, maxDepth };
}
