import { BatchBuilder } from "../engine/runner/batch.ts";
import type { ModelRunner } from "../engine/runner/model-runner.ts";
import type { DraftTree } from "../engine/speculative/draft-tree.ts";
import type { ProposeRequest, Proposer, TargetProgress } from "../engine/speculative/proposer.ts";
import { submitPass } from "../kernels/index.ts";
import { BlockManager } from "../kvcache/block-manager.ts";

/**
 * A proposer beside a target that has computed every known token but the last before each proposal, as in steady decoding:
 * the engine's part where drafters that look at the target are tried without one.
 */
export class WithTarget implements Proposer {
  readonly #device: GPUDevice;
  readonly #proposer: Proposer;
  readonly #runner: ModelRunner;
  readonly #blocks: BlockManager;
  readonly #ids = new Set<string>();

  constructor(device: GPUDevice, proposer: Proposer, runner: ModelRunner) {
    this.#device = device;
    this.#proposer = proposer;
    this.#runner = runner;
    this.#blocks = new BlockManager(runner.options.numBlocks);
  }

  get name(): string {
    return this.#proposer.name;
  }

  begin(id: string, tokenIds: readonly number[]): void {
    if (this.#ids.has(id)) this.#blocks.free(id);
    this.#ids.add(id);
    this.#blocks.ensure(id, 0);
    this.#proposer.begin(id, tokenIds);
  }

  propose(requests: readonly ProposeRequest[]): Promise<readonly DraftTree[]> {
    return this.#proposer.propose(
      requests.map((request) => (this.#ids.has(request.id) ? { ...request, target: this.#compute(request) } : request)),
    );
  }

  observe(id: string, tokenIds: readonly number[]): void {
    this.#proposer.observe(id, tokenIds);
  }

  end(id: string): void {
    if (this.#ids.delete(id)) this.#blocks.free(id);
    this.#proposer.end(id);
  }

  close(): void {
    for (const id of [...this.#ids]) this.end(id);
    this.#proposer.close();
  }

  /** Submits the target's pass; what the proposer submits comes after it. */
  #compute({ id, tokenIds }: ProposeRequest): TargetProgress {
    const startPosition = this.#blocks.numComputedTokens(id);
    const end = tokenIds.length - 1;
    const numTokens = end - startPosition;
    if (!this.#blocks.ensure(id, end)) throw new Error("the target has no blocks left");
    const blockTable = this.#blocks.blockTable(id);
    if (numTokens > 0) {
      const batch = new BatchBuilder(this.#runner.inputs.layout);
      batch.add({ tokenIds, startPosition, numTokens, blockTable, rootPosition: end - 1 });
      this.#runner.inputs.write(batch);
      const size = this.#runner.sizeOf(batch.numRows, 0, batch.maxPosition);
      submitPass(this.#device, (pass) => this.#runner.encodeForward(pass, size));
      this.#blocks.commit(id, end);
    }
    return { blockTable, numComputedTokens: end };
  }
}
