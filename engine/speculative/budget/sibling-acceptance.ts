import { siblingRanks } from "../draft-tree.ts";
import type { SiblingRates } from "../sequoia.ts";
import type { JudgedDraft } from "./verified-draft.ts";

/** Observations that an estimate looks back on. */
const WINDOW = 2000;

interface Tally {
  accepted: number;
  tested: number;
}

/** Live acceptance by depth and sibling rank: what the static trees of Sequoia are computed from. */
export class SiblingAcceptance {
  readonly #tallies: Tally[][] = [];

  observe({ tree, tested }: JudgedDraft): void {
    const { depths } = tree;
    const ranks = siblingRanks(tree);
    for (const { node, accepted } of tested) {
      const tally = this.#tally((depths[node] ?? 1) - 1, ranks[node] ?? 0);
      const kept = tally.tested < WINDOW ? 1 : 1 - 1 / WINDOW;
      tally.tested = kept * tally.tested + 1;
      tally.accepted = kept * tally.accepted + (accepted ? 1 : 0);
    }
  }

  /** 0 for what was never tested. */
  get rates(): SiblingRates {
    return this.#tallies.map((row) => row.map(({ accepted, tested }) => (tested > 0 ? accepted / tested : 0)));
  }

  #tally(depth: number, rank: number): Tally {
    while (this.#tallies.length <= depth) this.#tallies.push([]);
    const row = this.#tallies[depth] ?? [];
    while (row.length <= rank) row.push({ accepted: 0, tested: 0 });
    return row[rank] ?? { accepted: 0, tested: 0 };
  }
}
