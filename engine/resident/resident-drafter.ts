import {
  draftCatchUp,
  draftGrow,
  draftPoolBytes,
  draftTree,
  type GpuContext,
  type LaneOp,
  type LaneShape,
} from "../../kernels/index.ts";
import { numBlocksFor } from "../../kvcache/ids.ts";
import type { ModelRunner } from "../runner/model-runner.ts";
import { numLookahead } from "../speculative/draft-limits.ts";
import type { DraftModelProposer } from "../speculative/draft-model.ts";
import type { DraftTables } from "../speculative/draft-tables.ts";
import { LaneTables } from "./lane-tables.ts";

/** What a step needs to know to be encoded. */
export interface StepSize {
  readonly numLanes: number;
  /** Rows of a lane in the verify pass. */
  readonly numNodes: number;
  /** Depth of the deepest node. */
  readonly depth: number;
  /** Highest position that any row may have, or more. */
  readonly maxPosition: number;
}

interface DraftOps {
  readonly catchUp: LaneOp;
  readonly grow: LaneOp;
  readonly tree: LaneOp;
}

/** A draft model's part of steps that run on the device: from what the last step emitted to a tree for every lane. */
export class ResidentDrafter {
  readonly #runner: ModelRunner;
  readonly #tables: DraftTables;
  readonly #laneTables: LaneTables;
  readonly #shape: LaneShape;
  readonly #ops: DraftOps;
  /** Names of the lanes' block tables. */
  #lanes: readonly string[] = [];

  private constructor(proposer: DraftModelProposer, laneTables: LaneTables, shape: LaneShape, ops: DraftOps) {
    this.#runner = proposer.runner;
    this.#tables = proposer.tables;
    this.#laneTables = laneTables;
    this.#shape = shape;
    this.#ops = ops;
  }

  static async create(
    gpu: GpuContext,
    proposer: DraftModelProposer,
    shape: LaneShape,
    lanes: GPUBuffer,
    maxLanes: number,
  ): Promise<ResidentDrafter> {
    const { options, inputs, drawn } = proposer.runner;
    const { topK, maxModelLen, numBlocks } = options;
    const maxPath = shape.maxRecent - 1;
    const tableWords = Math.min(numBlocks, numBlocksFor(maxModelLen + numLookahead(topK, maxPath)));
    const laneTables = new LaneTables(gpu.device, inputs, { maxLanes, tableWords, maxRows: maxLanes * topK, maxPath });
    const { batch } = laneTables;
    const pools = gpu.pool.storage(maxLanes * draftPoolBytes(shape, topK), "pools");
    const buffers = { lanes, drawn: drawn.tokens, logShares: drawn.logShares, pools };
    const [catchUp, grow, tree] = await Promise.all([
      draftCatchUp(gpu, shape, lanes, batch),
      draftGrow(gpu, shape, topK, buffers, batch),
      draftTree(gpu, shape, topK, buffers),
    ]);
    return new ResidentDrafter(proposer, laneTables, shape, { catchUp, grow, tree });
  }

  /** Whether passes over so many lanes have room in the draft model's batch. */
  fits(numLanes: number): boolean {
    const { maxRows, maxLogits, topK } = this.#runner.options;
    return numLanes * Math.max(this.#shape.maxRecent, topK) <= maxRows && numLanes * topK <= maxLogits;
  }

  /** Known tokens of a sequence that have no K/V here; undefined where the sequence is unknown. */
  numPending(id: string, numTokens: number): number | undefined {
    const table = this.#tables.tableOf(id);
    return table === undefined ? undefined : numTokens - this.#tables.blocks.numComputedTokens(table);
  }

  /** Reserves what drafting writes after `numTokens` known tokens. False where blocks are lacking. */
  reserve(id: string, numTokens: number, depth: number): boolean {
    const table = this.#tables.tableOf(id);
    const { topK } = this.#runner.options;
    return table !== undefined && this.#tables.blocks.ensure(table, numTokens + numLookahead(topK, depth));
  }

  /** The sequences of the steps to come, a lane each. */
  start(ids: readonly string[]): void {
    this.#lanes = ids.map((id) => this.#tables.tableOf(id) ?? "");
    this.#laneTables.start(this.#lanes.map((table) => this.#tables.blocks.blockTable(table)));
  }

  /** A step is about to be submitted: blocks of sequences that end meanwhile are kept until it has ended (`release`). */
  hold(): void {
    this.#tables.hold();
  }

  release(): void {
    this.#tables.release();
  }

  /** To be called in each step before it is encoded. */
  sendTables(): void {
    this.#laneTables.send();
  }

  /** Trees for all lanes: a pass over the last step's tokens, and one a level. */
  encode(pass: GPUComputePassEncoder, { numLanes, numNodes, depth, maxPosition }: StepSize): void {
    const { topK } = this.#runner.options;
    const params = (level: number) => ({ numLanes, numNodes, level });
    this.#ops.catchUp(pass, params(0));
    this.#forward(pass, numLanes * this.#shape.maxRecent, numLanes, maxPosition);
    for (let level = 1; level < depth; level++) {
      this.#ops.grow(pass, params(level));
      this.#forward(pass, numLanes * topK, numLanes * topK, maxPosition);
    }
    this.#ops.tree(pass, params(depth));
  }

  /** Lane `lane` has K/V here for its first `numTokens` tokens, as a step that succeeded has computed them. */
  commit(lane: number, numTokens: number): void {
    this.#tables.blocks.commit(this.#lanes[lane] ?? "", numTokens);
  }

  /** No step is in flight: slots that were reserved ahead go back. */
  end(): void {
    const { blocks } = this.#tables;
    for (const table of this.#lanes) if (blocks.has(table)) blocks.trim(table, blocks.numComputedTokens(table));
    this.#lanes = [];
  }

  #forward(pass: GPUComputePassEncoder, numRows: number, numLogits: number, maxPosition: number): void {
    const size = this.#runner.sizeOf(numRows, numLogits, maxPosition);
    this.#runner.encodeForward(pass, size);
    this.#runner.encodeSample(pass, size);
  }
}
