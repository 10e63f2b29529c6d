import { type DraftTree, rootOnly } from "./draft-tree.ts";
import type { ProposeRequest, Proposer } from "./proposer.ts";

/** Never drafts: every step is a plain decode. */
export class NoProposer implements Proposer {
  readonly name = "none";

  begin(): void {}

  async propose(requests: readonly ProposeRequest[]): Promise<readonly DraftTree[]> {
    return requests.map(({ tokenIds }) => rootOnly(tokenIds.at(-1) ?? 0));
  }

  observe(): void {}

  end(): void {}

  close(): void {}
}
