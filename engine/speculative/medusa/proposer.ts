import type { DeviceDrafting } from "../../resident/device-drafting.ts";
import { MedusaDrafter } from "../../resident/medusa-drafter.ts";
import { slotAt } from "../../runner/batch.ts";
import { type DraftTree, rootOnly } from "../draft-tree.ts";
import { hasComputedAllButRoot } from "../draft-view.ts";
import type { ProposeRequest, Proposer } from "../proposer.ts";
import { likeliestTree, shapedTree } from "./likeliest-tree.ts";
import type { MedusaRunner } from "./runner.ts";

/**
 * Drafts with Medusa's heads (arXiv 2401.10774): head i guesses, from the target's last feature alone, the token i + 2 positions
 * further on, which is depth i + 1 of the tree; where there is a table of successors, it tells which guesses go together. It keeps
 * nothing of a sequence, so there is nothing to roll back.
 */
export class MedusaProposer implements Proposer {
  readonly name = "medusa";
  readonly runner: MedusaRunner;
  readonly #ids = new Set<string>();

  constructor(runner: MedusaRunner) {
    this.runner = runner;
  }

  get onDevice(): DeviceDrafting {
    return { create: (gpu, lanes) => MedusaDrafter.create(gpu, this, lanes) };
  }

  begin(id: string): void {
    this.#ids.add(id);
  }

  has(id: string): boolean {
    return this.#ids.has(id);
  }

  observe(): void {}

  end(id: string): void {
    this.#ids.delete(id);
  }

  close(): void {
    this.#ids.clear();
  }

  async propose(requests: readonly ProposeRequest[]): Promise<readonly DraftTree[]> {
    const drafting = requests.filter(
      (request) =>
        this.#ids.has(request.id) && request.maxNodes > 1 && request.maxDepth > 0 && hasComputedAllButRoot(request),
    );
    const roots = requests.map(({ tokenIds }) => tokenIds.at(-1) ?? 0);
    if (drafting.length === 0) return roots.map(rootOnly);
    const children = await this.runner.run(
      drafting.map(({ tokenIds, params, choice, processor, target }) => ({
        ...{ params, choice, processor, position: tokenIds.length, rootTokenId: tokenIds.at(-1) ?? 0 },
        slot: slotAt(target.blockTable, tokenIds.length - 2),
      })),
    );
    const below = new Map(drafting.map((request, i) => [request, children[i]]));
    return requests.map((request, i) => {
      const root = roots[i] ?? 0;
      const mine = below.get(request);
      if (mine === undefined) return rootOnly(root);
      const { shape } = request;
      return shape ? shapedTree(root, mine, shape, request) : likeliestTree(root, mine, request);
    });
  }
}
