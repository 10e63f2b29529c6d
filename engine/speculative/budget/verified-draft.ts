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

/**
 * Of each node, whether it is on the text's way: 1 or 0. The bonus token may lead to a node that had been cut; what would have
 * come below it is not known, and expected as the drafter did.
 */
export function outcomes(draft: VerifiedDraft): number[] {
  const { tree } = draft;
  const { accepted, unknownBelow } = knowledge(draft);
  const result: number[] = [];
  for (const [node, parent] of tree.parents.entries()) {
    const isUnknown = parent === unknownBelow || ((result[parent] ?? 1) < 1 && (result[parent] ?? 0) > 0);
    if (isUnknown) result.push((result[parent] ?? 0) * (tree.probs[node] ?? 0));
    else result.push(accepted.has(node) ? 1 : 0);
  }
  return result;
}

/** Nodes but the root of which it is known whether the target drew them, given that it got to their parent. */
export function testedNodes(draft: VerifiedDraft): { readonly node: number; readonly accepted: boolean }[] {
  const { accepted, unknownBelow } = knowledge(draft);
  return draft.tree.parents.flatMap((parent, node) =>
    accepted.has(parent) && parent !== unknownBelow ? [{ node, accepted: accepted.has(node) }] : [],
  );
}

function knowledge({ tree, kept, tokenIds }: VerifiedDraft) {
  const accepted = new Set(walkedNodes(tree, tokenIds));
  const last = Math.max(...accepted);
  return { accepted, unknownBelow: kept === undefined || kept.has(last) ? undefined : last };
}
