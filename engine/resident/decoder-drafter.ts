import {
  type DraftRules,
  draftCatchUp,
  draftGrow,
  draftPoolBytes,
  draftTree,
  type GpuContext,
  type LaneOp,
  type TargetReads,
} from "../../kernels/index.ts";
import { numBlocksFor } from "../../kvcache/ids.ts";
import type { ModelRunner } from "../runner/model-runner.ts";
import type { SamplingWants } from "../runner/request-sampling.ts";
import { numLookahead } from "../speculative/draft-limits.ts";
import type { DraftTables } from "../speculative/draft-tables.ts";
import type { DraftView, ViewInputs } from "../speculative/draft-view.ts";
import { shapeWidth, type TreeShape } from "../speculative/tree-shape.ts";
import { LaneTables, laneBatch } from "./lane-tables.ts";
import type { DraftedLanes, DraftedSequence, ResidentDrafter, StepSize } from "./resident-drafter.ts";
import { ShapeTable } from "./shape-table.ts";

/** The parts of a `ModelProposer`. */
interface DraftDecoder {
  readonly runner: ModelRunner;
  /** Of the runner's own KV cache. */
  readonly tables: DraftTables;
  readonly view: DraftView;
}

interface DraftPlan {
  readonly rules: DraftRules;
  /** Where trees have shapes. */
  readonly shapes: ShapeTable | undefined;
  readonly maxRecent: number;
}

interface DraftOps {
  readonly catchUp: LaneOp;
  readonly grow: LaneOp;
  readonly tree: LaneOp;
}

/**
 * Drafts of a decoder with K and V of its own: a draft model, EAGLE, GLIDE. A pass over what the last step emitted, then one a
 * level, as `ModelProposer` has them.
 */
export class DecoderDrafter implements ResidentDrafter {
  readonly #runner: ModelRunner;
  readonly #tables: DraftTables;
  readonly #rules: DraftRules;
  readonly #shapes: ShapeTable | undefined;
  /** Nodes that a level expands now. */
  #numExpanded: number;
  readonly #maxRecent: number;
  readonly #ops: DraftOps;
  readonly #ownTables: LaneTables;
  /** The target's, where rows look into them at a place of their own. */
  readonly #targetTables: LaneTables | undefined;
  /** Names of the lanes' block tables. */
  #lanes: readonly string[] = [];

  private constructor(
    { runner, tables }: DraftDecoder,
    { rules, shapes, maxRecent }: DraftPlan,
    ops: DraftOps,
    laneTables: { readonly own: LaneTables; readonly target: LaneTables | undefined },
  ) {
    this.#runner = runner;
    this.#tables = tables;
    this.#rules = rules;
    this.#shapes = shapes;
    this.#numExpanded = rules.numExpanded;
    this.#maxRecent = maxRecent;
    this.#ops = ops;
    this.#ownTables = laneTables.own;
    this.#targetTables = laneTables.target;
  }

  /** @throws GpuError, RangeError where the decoder's passes do not hold so many lanes */
  static async create(gpu: GpuContext, decoder: DraftDecoder, lanes: DraftedLanes): Promise<DecoderDrafter> {
    const { shape, maxLanes, buffer, isShaped } = lanes;
    const { options, inputs, drawn } = decoder.runner;
    const { shift, widths, inputs: viewInputs } = decoder.view;
    const { topK } = options;
    const shapes = isShaped ? new ShapeTable(gpu, shape.maxNodes, topK) : undefined;
    // A shape says by itself how many nodes a level expands, and how many candidates of a node count.
    const numExpanded = shapes ? Math.max(1, shape.maxNodes - 1) : decoder.view.numExpanded;
    checkRows(maxLanes, Math.max(shape.maxRecent, numExpanded), options.maxRows);
    checkRows(maxLanes, numExpanded, options.maxLogits);
    const rules: DraftRules = {
      ...{ topK, numExpanded, shift, reads: readsOf(viewInputs, lanes) },
      ...(shapes ? { shapeChildren: shapes.buffer } : widths ? { widths } : {}),
    };
    const maxPath = shape.maxRecent - 1;
    const most = numBlocksFor(options.maxModelLen + numLookahead(numExpanded, maxPath));
    const tableWords = Math.min(options.numBlocks, most);
    const own = laneBatch(inputs, { maxLanes, tableWords, maxRows: maxLanes * numExpanded, maxPath });
    const pools = gpu.pool.storage(maxLanes * draftPoolBytes(shape, rules), "pools");
    const buffers = { lanes: buffer, drawn: drawn.tokens, logShares: drawn.logShares, pools };
    const [catchUp, grow, tree] = await Promise.all([
      draftCatchUp(gpu, shape, rules, buffer, own),
      draftGrow(gpu, shape, rules, buffers, own),
      draftTree(gpu, shape, rules, buffers),
    ]);
    return new DecoderDrafter(
      decoder,
      { rules, shapes, maxRecent: shape.maxRecent },
      { catchUp, grow, tree },
      { own: new LaneTables(gpu.device, own), target: tablesOf(gpu.device, viewInputs, lanes) },
    );
  }

  shapeTrees(shape: TreeShape): void {
    this.#shapes?.send(shape);
    this.#numExpanded = Math.max(1, shapeWidth(shape));
  }

  numRecent(id: string, numTokens: number): number | undefined {
    const table = this.#tables.tableOf(id);
    if (table === undefined || (this.#rules.reads.kind !== "text" && numTokens < 2)) return undefined;
    const numPending = numTokens - this.#rules.shift - this.#tables.blocks.numComputedTokens(table);
    return numPending >= 1 && numPending <= this.#maxRecent ? numPending : undefined;
  }

  hasRoom(id: string, numTokens: number): boolean {
    const table = this.#tables.tableOf(id);
    const numSlots = this.#numSlots(numTokens, this.#maxRecent - 1);
    return table !== undefined && this.#tables.blocks.hasRoom(table, numSlots);
  }

  reserve(id: string, numTokens: number, depth: number): boolean {
    const table = this.#tables.tableOf(id);
    return table !== undefined && this.#tables.blocks.ensure(table, this.#numSlots(numTokens, depth));
  }

  start(sequences: readonly DraftedSequence[]): void {
    this.#lanes = sequences.map(({ id }) => this.#tables.tableOf(id) ?? "");
    this.#ownTables.start(this.#lanes.map((table) => this.#tables.blocks.blockTable(table)));
    this.#targetTables?.start(sequences.map(({ blockTable }) => blockTable));
  }

  hold(): void {
    this.#tables.hold();
  }

  release(): void {
    this.#tables.release();
  }

  sendTables(): void {
    this.#ownTables.send();
    this.#targetTables?.send();
  }

  isReady(wants: SamplingWants): boolean {
    return this.#runner.isReady(wants);
  }

  encode(
    pass: GPUComputePassEncoder,
    { numLanes, numRecent, numNodes, depth, maxPosition }: StepSize,
    wants: SamplingWants,
  ): void {
    const forward = (numRows: number, numLogits: number) => {
      const size = this.#runner.sizeOf(numRows, numLogits, maxPosition);
      this.#runner.encodeForward(pass, size);
      this.#runner.encodeSample(pass, size, wants);
    };
    const numExpanded = this.#numExpanded;
    const params = (level: number) => ({ numLanes, numNodes, level, numExpanded });
    this.#ops.catchUp(pass, { numLanes, numNodes: numRecent });
    forward(numLanes * numRecent, numLanes);
    for (let level = 1; level < depth; level++) {
      this.#ops.grow(pass, params(level));
      forward(numLanes * numExpanded, numLanes * numExpanded);
    }
    this.#ops.tree(pass, params(depth));
  }

  commit(lane: number, numTokens: number): void {
    this.#tables.blocks.commit(this.#lanes[lane] ?? "", numTokens - this.#rules.shift);
  }

  end(): void {
    const { blocks } = this.#tables;
    for (const table of this.#lanes) if (blocks.has(table)) blocks.trim(table, blocks.numComputedTokens(table));
    this.#lanes = [];
  }

  /** Of known tokens, and of what drafting to this depth writes behind them. */
  #numSlots(numTokens: number, depth: number): number {
    return numTokens - this.#rules.shift + numLookahead(this.#numExpanded, depth);
  }
}

/** @throws RangeError where a pass has not so many rows */
function checkRows(maxLanes: number, numRows: number, most: number): void {
  if (maxLanes * numRows > most) {
    throw new RangeError(`${maxLanes} lanes have ${numRows} rows each in a draft pass, which has ${most}`);
  }
}

function readsOf(inputs: ViewInputs, { tables, tableWords }: DraftedLanes): TargetReads {
  if (inputs.kind === "text") return inputs;
  if (inputs.kind === "keys") return { kind: "keys", rowInfo: inputs.rowInfo, tableWords };
  return { ...inputs, tables, tableWords };
}

/** @throws RangeError where the place for them is too small */
function tablesOf(
  device: GPUDevice,
  inputs: ViewInputs,
  { maxLanes, tableWords }: DraftedLanes,
): LaneTables | undefined {
  if (inputs.kind !== "keys") return undefined;
  const { buffer, offset, size } = inputs.tables;
  const [needed, had] = [maxLanes * tableWords, size / 4];
  if (needed > had) throw new RangeError(`lanes need ${needed} words for the target's tables, the drafter has ${had}`);
  return new LaneTables(device, { buffer, tables: offset, tableWords });
}
