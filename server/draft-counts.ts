import type { StepSequence } from "../engine/client.ts";
import { siblingRanks } from "../engine/speculative/draft-tree.ts";

/**
 * What the drafts of a step add to the counters: summed first, as each call of a counter with labels takes about as long as all the
 * rest of what is done for a tree.
 */
export interface DraftCounts {
  readonly numDrafts: number;
  readonly numDraftTokens: number;
  readonly numAccepted: number;
  /** Accepted tokens by depth, the first being 0, and by how many siblings come before them. */
  readonly byPosition: readonly number[];
  readonly byRank: readonly number[];
  readonly byProposer: ReadonlyMap<string, { readonly numDrafted: number; readonly numAccepted: number }>;
}

/** @param drafter whose nodes are that do not say who proposed them */
export function countDrafts(sequences: readonly StepSequence[], drafter: string): DraftCounts {
  const counts = { numDrafts: 0, numDraftTokens: 0, numAccepted: 0 };
  const [byPosition, byRank]: [number[], number[]] = [[], []];
  const byProposer = new Map<string, { numDrafted: number; numAccepted: number }>();
  for (const { numDraft, numAccepted, tree } of sequences) {
    if (numDraft === 0) continue;
    counts.numDrafts++;
    counts.numDraftTokens += numDraft;
    counts.numAccepted += numAccepted;
    for (let position = 0; position < numAccepted; position++) add(byPosition, position);
    if (tree === undefined) continue;
    const ranks = siblingRanks(tree);
    for (let node = 1; node < tree.tokenIds.length; node++) {
      if (tree.accepted[node]) add(byRank, ranks[node] ?? 0);
      for (const proposer of tree.proposers?.[node] ?? [drafter]) {
        const one = byProposer.get(proposer) ?? { numDrafted: 0, numAccepted: 0 };
        byProposer.set(proposer, one);
        one.numDrafted++;
        if (tree.accepted[node]) one.numAccepted++;
      }
    }
  }
  return { ...counts, byPosition, byRank, byProposer };
}

function add(counts: number[], place: number): void {
  while (counts.length <= place) counts.push(0);
  counts[place] = (counts[place] ?? 0) + 1;
}
