import { keepNodes } from "../../../engine/speculative/budget/cut-trees.ts";
import type { CutTree, ObservedStep, TreePolicy } from "../../../engine/speculative/budget/tree-policy.ts";
import { isSame } from "../../../engine/speculative/budget/way-in-use.ts";
import type { DraftTree } from "../../../engine/speculative/draft-tree.ts";
import { isPlain, NO_TREES, type TreeLimits } from "../../../scheduler/output.ts";
import { Random } from "../../support/random.ts";
import { TREE_DEPTH, TREE_NODES } from "./open-engine.ts";

/** Changes its mind at any step: any bounds, in a run or between runs, and any nodes of a tree, by chance. */
export class RestlessPolicy implements TreePolicy {
  readonly #random = new Random(8);
  #limits = NO_TREES;
  readonly seen = new Set<string>();
  /** Of the latest step. */
  #seenLimits = NO_TREES;

  limits(): TreeLimits {
    return this.#limits;
  }

  next(limits: TreeLimits): TreeLimits | undefined {
    return isPlain(this.#limits) === isPlain(limits) ? this.#limits : undefined;
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

  observe({ onDevice, isSteady, drafts, limits }: ObservedStep): void {
    this.seen.add(`${onDevice ? "device" : "host"}, ${isPlain(limits) ? "plain" : "drafting"}`);
    if (onDevice && drafts.some(({ kept }) => kept)) this.seen.add("device, sharing rows");
    // Steady steps are no first ones of a run.
    if (onDevice && isSteady && !isPlain(limits) && !isSame(limits, this.#seenLimits)) {
      this.seen.add("device, another size than in the step before");
    }
    this.#seenLimits = limits;
    if (this.#random.next() < 0.6) return;
    const most = this.#random.next() < 0.4 ? 0 : this.#random.int(1, TREE_NODES - 1);
    const isShared = most > 0 && this.#random.next() < 0.5;
    const shared = isShared ? { mostLookaheadNodes: TREE_NODES - 1 } : {};
    const maxDraftDepth = Math.min(shared.mostLookaheadNodes ?? most, this.#random.int(1, TREE_DEPTH));
    this.#limits = { numLookaheadNodes: most, maxDraftDepth, ...shared };
  }
}
