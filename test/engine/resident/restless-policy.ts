import { keepNodes } from "../../../engine/speculative/budget/cut-trees.ts";
import type { CutTree, ObservedStep, TreePolicy } from "../../../engine/speculative/budget/tree-policy.ts";
import type { DraftTree } from "../../../engine/speculative/draft-tree.ts";
import type { TreeLimits } from "../../../scheduler/output.ts";
import { Random } from "../../support/random.ts";
import { TREE_DEPTH, TREE_NODES } from "./open-engine.ts";

/** Changes its mind at any step: any bounds, and any nodes of a tree, by chance. */
export class RestlessPolicy implements TreePolicy {
  readonly #random = new Random(8);
  #limits: TreeLimits = { numLookaheadNodes: 0, maxDraftDepth: 0 };
  readonly seen = new Set<string>();

  limits(): TreeLimits {
    return this.#limits;
  }

  goesOn({ numLookaheadNodes, maxDraftDepth, mostLookaheadNodes }: TreeLimits): boolean {
    const now = this.#limits;
    return (
      numLookaheadNodes === now.numLookaheadNodes &&
      maxDraftDepth === now.maxDraftDepth &&
      mostLookaheadNodes === now.mostLookaheadNodes
    );
  }

  cut(trees: readonly DraftTree[]): readonly CutTree[] {
    return trees.map((drafted) => {
      const kept = new Set([0]);
      for (const [node, parent] of drafted.parents.entries()) {
        if (kept.has(parent) && this.#random.next() < 0.6) kept.add(node);
      }
      return { drafted, kept, tree: keepNodes(drafted, kept) };
    });
  }

  observe({ onDevice, drafts, limits: { numLookaheadNodes } }: ObservedStep): void {
    this.seen.add(`${onDevice ? "device" : "host"}, ${numLookaheadNodes > 0 ? "drafting" : "plain"}`);
    if (onDevice && drafts.some(({ kept }) => kept)) this.seen.add("device, sharing rows");
    if (this.#random.next() < 0.6) return;
    const most = this.#random.next() < 0.4 ? 0 : this.#random.int(1, TREE_NODES - 1);
    const isShared = most > 0 && this.#random.next() < 0.5;
    const shared = isShared ? { mostLookaheadNodes: TREE_NODES - 1 } : {};
    const maxDraftDepth = Math.min(shared.mostLookaheadNodes ?? most, this.#random.int(1, TREE_DEPTH));
    this.#limits = { numLookaheadNodes: most, maxDraftDepth, ...shared };
  }
}
