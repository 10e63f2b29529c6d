import { type GpuContext, type LaneOp, medusaRows, medusaTree } from "../../kernels/index.ts";
import { BLOCK_SIZE } from "../../kvcache/ids.ts";
import type { SamplingWants } from "../runner/request-sampling.ts";
import type { MedusaProposer } from "../speculative/medusa/proposer.ts";
import type { DraftedLanes, ResidentDrafter, StepSize } from "./resident-drafter.ts";

interface MedusaOps {
  readonly rows: LaneOp;
  readonly tree: LaneOp;
}

/** Drafts of Medusa's heads: one pass over the lanes' last features. Nothing of a sequence is kept. */
export class MedusaDrafter implements ResidentDrafter {
  readonly #proposer: MedusaProposer;
  readonly #ops: MedusaOps;

  private constructor(proposer: MedusaProposer, ops: MedusaOps) {
    this.#proposer = proposer;
    this.#ops = ops;
  }

  /** @throws GpuError */
  static async create(gpu: GpuContext, proposer: MedusaProposer, lanes: DraftedLanes): Promise<MedusaDrafter> {
    const { shape, buffer, tables, tableWords } = lanes;
    const { pass, sizes } = proposer.runner;
    const args = { ...pass, topK: sizes.topK, lanes: buffer, tables, tableWords, blockSize: BLOCK_SIZE };
    const [rows, tree] = await Promise.all([medusaRows(gpu, shape, args), medusaTree(gpu, shape, args)]);
    return new MedusaDrafter(proposer, { rows, tree });
  }

  fits(numLanes: number): boolean {
    return numLanes <= this.#proposer.runner.sizes.maxNumSeqs;
  }

  numRecent(id: string, numTokens: number): number | undefined {
    return this.#proposer.has(id) && numTokens > 1 ? 1 : undefined;
  }

  reserve(): boolean {
    return true;
  }

  start(): void {}

  hold(): void {}

  release(): void {}

  isReady(wants: SamplingWants): boolean {
    return this.#proposer.runner.isReady(wants);
  }

  sendTables(): void {}

  encode(pass: GPUComputePassEncoder, { numLanes, numNodes, depth }: StepSize, wants: SamplingWants): void {
    const params = { numLanes, numNodes, level: depth };
    this.#ops.rows(pass, params);
    this.#proposer.runner.pass.encode(pass, numLanes, wants);
    this.#ops.tree(pass, params);
  }

  commit(): void {}

  end(): void {}
}
