import type { DraftTree } from "../../../engine/speculative/draft-tree.ts";
import type { ProposeRequest, Proposer } from "../../../engine/speculative/proposer.ts";

/** Always proposes that the last token, and the one after it by number, come next and again: a drafter that is never silent. */
export class LoopProposer implements Proposer {
  readonly name = "loop";
  readonly #alive = new Set<string>();

  begin(id: string): void {
    this.#alive.add(id);
  }

  async propose(requests: readonly ProposeRequest[]): Promise<readonly DraftTree[]> {
    await Promise.resolve();
    return requests.map(({ id, tokenIds, maxNodes, maxDepth }) => {
      const root = tokenIds.at(-1) ?? 0;
      const numNodes = this.#alive.has(id) ? Math.max(1, Math.min(maxNodes, 1 + 2 * maxDepth)) : 1;
      const nodes = Array.from({ length: numNodes }, (_, node) => node);
      return {
        tokenIds: nodes.map((node) => (node % 2 === 0 && node > 0 ? root ^ 1 : root)),
        parents: nodes.map((node) => (node === 0 ? -1 : Math.max(0, node - 1 - ((node - 1) % 2) - 1))),
        probs: nodes.map((node) => (node === 0 ? 1 : node % 2 === 1 ? 0.6 : 0.3)),
        depths: nodes.map((node) => Math.ceil(node / 2)),
      };
    });
  }

  observe(): void {}

  end(id: string): void {
    this.#alive.delete(id);
  }

  close(): void {
    this.#alive.clear();
  }
}
