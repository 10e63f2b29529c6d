import type { DraftTree } from "../draft-tree.ts";
import { walkedNodes } from "../walk.ts";

/** A tree that was drafted, and what the walk did with what was verified of it. */
export interface VerifiedDraft {
  /** As drafted: with the nodes that were cut before verification. */
  readonly tree: DraftTree;
  /** Nodes that were verified, the root among them; all of them where it is absent. */
  readonly kept?: ReadonlySet<number>;
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
  const { tree, kept, tokenIds } = draft;
  const walked = walkedNodes(tree, tokenIds);
  const last = walked.at(-1) ?? 0;
  const unknownBelow = kept === undefined || kept.has(last) ? undefined : last;
  const accepted = new Set(walked);
  const tested = [];
  for (let node = 1; node < tree.parents.length; node++) {
    const parent = tree.parents[node] ?? 0;
    if (accepted.has(parent) && parent !== unknownBelow) tested.push({ node, accepted: accepted.has(node) });
  }
  return { ...draft, outcomes: outcomes(tree, accepted, unknownBelow), tested };
}

function outcomes(tree: DraftTree, accepted: ReadonlySet<number>, unknownBelow: number | undefined): number[] {
  const result: number[] = [];
  for (const [node, parent] of tree.parents.entries()) {
    const isUnknown = parent === unknownBelow || ((result[parent] ?? 1) < 1 && (result[parent] ?? 0) > 0);
    if (isUnknown) result.push((result[parent] ?? 0) * (tree.probs[node] ?? 0));
    else result.push(accepted.has(node) ? 1 : 0);
  }
  return result;
}
