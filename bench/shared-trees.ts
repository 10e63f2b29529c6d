import { judged, type VerifiedDraft } from "../engine/speculative/budget/verified-draft.ts";
import { survivals } from "../engine/speculative/draft-tree.ts";
import { randomWords } from "./random.ts";

/** Of a node below a root: whether its token came. */
interface JudgedNode {
  readonly depth: number;
  readonly survival: number;
  readonly outcome: number;
}

/** Tokens a step of trees whose rows are their own, and of trees that share as many. */
export interface SharedFigures {
  readonly own: number;
  readonly shared: number;
}

/** What of large trees would have been accepted, had only some of their nodes been verified: the best of each, or of many together. */
export class SharedTrees {
  readonly #trees: JudgedNode[][] = [];

  observe(draft: VerifiedDraft): void {
    const { outcomes } = judged(draft);
    const survival = survivals(draft.tree);
    const nodes = draft.tree.depths.map((depth, node) => ({
      ...{ depth, survival: survival[node] ?? 0, outcome: outcomes[node] ?? 0 },
    }));
    this.#trees.push(nodes.slice(1));
  }

  /** @param numNodes of a tree, root included; on average where `numTrees` share their rows. Trees are put together by lot. */
  figures(numNodes: number, depth: number, numTrees: number): SharedFigures {
    const next = randomWords();
    const numGroups = Math.max(1, Math.ceil((8 * this.#trees.length) / numTrees));
    let [own, shared] = [0, 0];
    for (let i = 0; i < numGroups; i++) {
      const group = Array.from({ length: numTrees }, () => {
        const tree = this.#trees[next() % Math.max(1, this.#trees.length)] ?? [];
        return tree.filter((node) => node.depth <= depth);
      });
      for (const tree of group) own += accepted(tree, numNodes - 1);
      shared += accepted(group.flat(), numTrees * (numNodes - 1));
    }
    const numSteps = numGroups * numTrees;
    return { own: 1 + own / numSteps, shared: 1 + shared / numSteps };
  }
}

function accepted(nodes: readonly JudgedNode[], count: number): number {
  const best = nodes.toSorted((a, b) => b.survival - a.survival).slice(0, count);
  return best.reduce((sum, { outcome }) => sum + outcome, 0);
}
