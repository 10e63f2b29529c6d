import { type GpuContext, type LaneOp, medusaLeafBytes, medusaRows, medusaTree } from "../../kernels/index.ts";
import { BLOCK_SIZE } from "../../kvcache/ids.ts";
import type { SamplingWants } from "../runner/request-sampling.ts";
import type { MedusaRunner } from "../speculative/medusa/runner.ts";
import type { TreeShape } from "../speculative/tree-shape.ts";
import type { DraftedLanes, ResidentDrafter, StepSize } from "./resident-drafter.ts";
import { ShapeTable } from "./shape-table.ts";

/** The parts of a `MedusaProposer`. */
interface MedusaHeads {
  readonly runner: MedusaRunner;
  /** Whether the sequence has begun and not ended. */
  has(id: string): boolean;
}

interface MedusaOps {
  readonly rows: LaneOp;
  readonly tree: LaneOp;
}

/** Drafts of Medusa's heads: one pass over the lanes' last features. Nothing of a sequence is kept. */
export class MedusaDrafter implements ResidentDrafter {
  readonly #heads: MedusaHeads;
  readonly #ops: MedusaOps;
  /** Where trees have shapes. */
  readonly #shapes: ShapeTable | undefined;

  private constructor(heads: MedusaHeads, ops: MedusaOps, shapes: ShapeTable | undefined) {
    this.#heads = heads;
    this.#ops = ops;
    this.#shapes = shapes;
  }

  /** @throws GpuError, RangeError where the heads were made for fewer sequences */
  static async create(gpu: GpuContext, heads: MedusaHeads, lanes: DraftedLanes): Promise<MedusaDrafter> {
    const { shape, maxLanes, buffer, tables, tableWords, isShaped } = lanes;
    const { pass, sizes } = heads.runner;
    const { topK, maxNumSeqs } = sizes;
    if (maxLanes > maxNumSeqs) throw new RangeError(`there are ${maxLanes} lanes, and heads for ${maxNumSeqs}`);
    const shapes = isShaped ? new ShapeTable(gpu, shape.maxNodes, topK) : undefined;
    const args = { ...pass, topK, lanes: buffer, tables, tableWords, blockSize: BLOCK_SIZE };
    const leaves = gpu.pool.storage(maxLanes * medusaLeafBytes(shape), "leaves");
    const [rows, tree] = await Promise.all([
      medusaRows(gpu, shape, args),
      medusaTree(gpu, shape, { ...args, leaves }, shapes?.buffer),
    ]);
    return new MedusaDrafter(heads, { rows, tree }, shapes);
  }

  shapeTrees(shape: TreeShape): void {
    this.#shapes?.send(shape);
  }

  numRecent(id: string, numTokens: number): number | undefined {
    return this.#heads.has(id) && numTokens > 1 ? 1 : undefined;
  }

  hasRoom(id: string): boolean {
    return this.#heads.has(id);
  }

  reserve(): boolean {
    return true;
  }

  start(): void {}

  hold(): void {}

  release(): void {}

  isReady(wants: SamplingWants): boolean {
    return this.#heads.runner.isReady(wants);
  }

  sendTables(): void {}

  encode(pass: GPUComputePassEncoder, { numLanes, numNodes, depth }: StepSize, wants: SamplingWants): void {
    const params = { numLanes, numNodes, level: depth };
    this.#ops.rows(pass, params);
    this.#heads.runner.pass.encode(pass, numLanes, wants);
    this.#ops.tree(pass, params);
  }

  commit(): void {}

  end(): void {}
}
