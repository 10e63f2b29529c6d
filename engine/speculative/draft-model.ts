import type { BlockManager } from "../../kvcache/block-manager.ts";
import type { ModelRunner } from "../runner/model-runner.ts";
import { plainView } from "./draft-view.ts";
import { ModelProposer } from "./model-proposer.ts";

/** Drafts with a small model of the same vocabulary, which looks at nothing but the text. */
export class DraftModelProposer extends ModelProposer {
  /** @param blocks of the runner's own KV cache. Children of a node, and nodes that a level expands: the runner's topK. */
  constructor(runner: ModelRunner, blocks: BlockManager) {
    super(runner, blocks, plainView(runner.options.topK));
  }
}
