import {
  type GpuContext,
  type LaneOp,
  type LaneShape,
  laneBudget,
  laneBytes,
  laneRows,
  laneWalk,
  PassTimer,
  readLane,
} from "../../kernels/index.ts";
import { BLOCK_SIZE, numBlocksFor } from "../../kvcache/ids.ts";
import { commonLimits, numTreeSlots, type SchedulerOutput, type TreeLimits } from "../../scheduler/output.ts";
import type { Sequence } from "../../scheduler/sequence.ts";
import type { ModelRunner } from "../runner/model-runner.ts";
import { deepest } from "../speculative/draft-limits.ts";
import type { TreeShape } from "../speculative/tree-shape.ts";
import type { DeviceDrafting } from "./device-drafting.ts";
import { DraftedSequences } from "./drafted-sequences.ts";
import { LaneSampling } from "./lane-sampling.ts";
import { LaneTables, laneBatch } from "./lane-tables.ts";
import { Lanes } from "./lanes.ts";
import { ReadbackRing } from "./readback-ring.ts";
import type { ResidentDrafter, StepSize } from "./resident-drafter.ts";
import type { LaneRequest, ResidentOptions, ResidentStep } from "./resident-step.ts";

interface TargetOps {
  readonly budget: LaneOp;
  readonly rows: LaneOp;
  readonly walk: LaneOp;
}

/**
 * Decoding without the host between steps: lengths, last tokens and trees of a fixed set of sequences, the lanes, are
 * kept on the device, where one step's walk leaves them for the next step's drafting. So a step can be submitted before
 * the tokens of the one before it are read. Lanes of sequences that have ended idle until the run ends. Kernels write rows where
 * `ModelRunner.run` would have written them; the passes are the same, and so are the tokens, bit for bit.
 */
export class ResidentLoop {
  /** Names of those who propose into one tree, where they are several. */
  readonly proposers: readonly string[] | undefined;
  readonly #gpu: GpuContext;
  readonly #runner: ModelRunner;
  readonly #drafter: ResidentDrafter | undefined;
  readonly #drafted: DraftedSequences | undefined;
  readonly #shape: LaneShape;
  readonly #options: ResidentOptions;
  readonly #lanes: Lanes;
  readonly #tables: LaneTables;
  readonly #sampling: LaneSampling;
  readonly #ops: TargetOps;
  readonly #ring: ReadbackRing;
  /** One for each slot of the ring, where steps are measured. */
  readonly #timers: readonly PassTimer[];
  /** Tokens of a lane that the next step's drafter takes in, at most: no more than a step emits, but for the first one's. */
  #numRecent = 1;
  /** Tokens that the latest steps emit at most, the latest first; no more of them than may be in flight. */
  #mostEmitted: readonly number[] = [];

  private constructor(
    parts: {
      readonly gpu: GpuContext;
      readonly runner: ModelRunner;
      readonly drafter: ResidentDrafter | undefined;
      readonly proposers: readonly string[] | undefined;
      readonly shape: LaneShape;
      readonly options: ResidentOptions;
    },
    buffers: { readonly lanes: Lanes; readonly tables: LaneTables },
    sampling: LaneSampling,
    ops: TargetOps,
  ) {
    const { device, pool } = parts.gpu;
    const { maxLanes, stepsInFlight, profile } = parts.options;
    this.#gpu = parts.gpu;
    this.#runner = parts.runner;
    this.#drafter = parts.drafter;
    this.#drafted = parts.drafter && new DraftedSequences(parts.drafter);
    this.proposers = parts.proposers;
    this.#shape = parts.shape;
    this.#options = parts.options;
    this.#lanes = buffers.lanes;
    this.#tables = buffers.tables;
    this.#sampling = sampling;
    this.#ops = ops;
    this.#ring = new ReadbackRing(pool, stepsInFlight, maxLanes * laneBytes(parts.shape));
    const measures = profile && device.features.has("timestamp-query");
    this.#timers = measures ? Array.from({ length: stepsInFlight }, () => new PassTimer(device, pool, 3)) : [];
  }

  /**
   * @param runner made for requests
   * @param drafting undefined where nothing is drafted
   * @throws GpuError, RangeError where the runner or the drafter was made for fewer lanes or smaller trees
   */
  static async create(
    gpu: GpuContext,
    runner: ModelRunner,
    drafting: DeviceDrafting | undefined,
    options: ResidentOptions,
  ): Promise<ResidentLoop> {
    const { maxLanes, treeNodes, treeDepth, isShaped } = options;
    const { maxModelLen, numBlocks } = runner.options;
    const { requestSampling } = runner;
    if (requestSampling === undefined) throw new Error("invariant: the target's runner knows of no requests");
    const maxPath = deepest({ treeNodes, treeDepth });
    const shape = { maxNodes: treeNodes, maxRecent: 1 + maxPath };
    const tableWords = Math.min(numBlocks, numBlocksFor(maxModelLen + treeNodes));
    const maxRows = Math.min(maxLanes * treeNodes, runner.options.maxLogits);
    if (maxLanes * maxPath > runner.kv.maxMoves) {
      throw new RangeError(`${maxLanes} lanes move ${maxPath} nodes each, the cache ${runner.kv.maxMoves} at once`);
    }
    const batch = laneBatch(runner.inputs, { maxLanes, tableWords, maxRows, maxPath });
    const tables = new LaneTables(gpu.device, batch);
    const lanes = gpu.pool.storage(maxLanes * laneBytes(shape), "lanes");
    const buffers = { lanes: new Lanes(gpu.device, lanes, shape), tables };
    const targetTables = runner.inputs.buffers.tables;
    const [drafter, sampling, budget, rows, walk] = await Promise.all([
      drafting?.create(gpu, { shape, maxLanes, buffer: lanes, tables: targetTables, tableWords, isShaped }),
      LaneSampling.create(gpu, requestSampling, shape, lanes, options.stepsInFlight),
      laneBudget(gpu, shape, lanes, maxLanes),
      laneRows(gpu, shape, lanes, batch),
      laneWalk(gpu, shape, {
        ...{ lanes, tableWords, blockSize: BLOCK_SIZE },
        ...{ drawn: runner.drawn.tokens, tables: targetTables, moves: runner.kv.moves },
      }),
    ]);
    const { proposers } = drafting ?? {};
    return new ResidentLoop({ gpu, runner, drafter, proposers, shape, options }, buffers, sampling, {
      budget,
      rows,
      walk,
    });
  }

  /**
   * Moves the plan's sequences to the device, if the plan is one step of steady decoding: every sequence computes one token,
   * trees may be as deep as chosen for the step, and the kernels that sampling needs are compiled. Nothing is drafted for sequences of which
   * the drafter has not seen all tokens but those of the last step, or for which it lacks blocks; where that is all of them, the host goes on.
   * Trees have this shape, where the loop is made for shapes. `submit` then runs the plan, and `end` is to follow when no step is in flight any more. False otherwise.
   */
  start(
    { sequences: plan, limits: chosen }: SchedulerOutput,
    requests: readonly LaneRequest[],
    shape?: TreeShape,
  ): boolean {
    if (shape) this.#drafter?.shapeTrees(shape);
    const limits = commonLimits(plan, chosen);
    const isSteady = plan.every(
      ({ numTokens, needsSample, maxDraftDepth }) =>
        numTokens === 1 && needsSample && maxDraftDepth >= limits.maxDraftDepth,
    );
    const sequences = requests.map(({ sequence }) => sequence);
    if (!isSteady || this.#drafted?.start(sequences, limits.maxDraftDepth) === false) return false;
    const draws = this.#sampling.start(requests);
    if (draws === undefined || this.#drafter?.isReady(this.#sampling.wants) === false) return false;
    this.#tables.start(requests.map(({ blockTable }) => blockTable));
    this.#drafter?.start(requests.map(({ sequence: { id }, blockTable }) => ({ id, blockTable })));
    const lanes = draws.map(({ sampling, sequence: { id, tokenIds, numTokens } }) => {
      const recent = tokenIds.slice(-(this.#drafted?.numRecent(id) ?? 1));
      return { sampling, isDrafted: this.#drafted?.has(id) ?? false, numTokens, recent };
    });
    this.#numRecent = Math.max(...lanes.map(({ recent }) => recent.length));
    this.#mostEmitted = [];
    this.#lanes.start(sequences, lanes);
    return true;
  }

  /** Whether the drafter, in a step of the host, gets nearer to drafting for one of them for whom it cannot now. */
  canCatchUp(sequences: readonly Sequence[]): boolean {
    return this.#drafted?.canCatchUp(sequences) ?? false;
  }

  /** Lanes of the run, idle ones included; 0 when nothing is on the device. */
  get numLanes(): number {
    return this.#lanes.count;
  }

  /**
   * Reserves what the drafter needs to draft to this depth in a step of these sequences, after `numAhead` steps whose tokens are not known yet.
   * @returns false where its blocks do not suffice, or now suffice for one for whom nothing is drafted
   */
  reserveAhead(numAhead: number, sequences: readonly Sequence[], depth: number): boolean {
    const mostTokens = ({ numTokens }: Sequence) => this.#mostTokens(numTokens, numAhead);
    return this.#drafted?.goOn(sequences, depth, mostTokens) ?? true;
  }

  /**
   * Encodes and submits the next step before it returns; at most `stepsInFlight` may be in flight.
   * @param numAhead steps whose tokens the sequences do not have yet
   * @param sequences who goes on, of those of the step before; lanes of others idle from now on
   * @param limits of the step's trees: others than in the step before, if need be, but no trees in a run that was started without, nor none
   *   in one with trees
   * @throws GpuError as a rejection, when the device failed in this step or before; then no result may be used.
   */
  async submit(numAhead: number, sequences: readonly Sequence[], limits: TreeLimits): Promise<ResidentStep> {
    this.#drafter?.hold();
    try {
      const lanes = this.#lanes.keep(sequences);
      const size = this.#stepSize(numAhead, sequences, limits);
      this.#numRecent = 1 + size.depth;
      this.#mostEmitted = [1 + size.depth, ...this.#mostEmitted].slice(0, this.#options.stepsInFlight);
      const step = await this.#gpu.guard.run(() => this.#run(size, lanes));
      for (const [i, lane] of lanes.entries()) {
        const { alive = false, numTokens = 0, emitted = [] } = step.lanes[i] ?? {};
        if (alive && this.#drafted?.has(sequences[i]?.id ?? ""))
          this.#drafter?.commit(lane, numTokens - emitted.length);
      }
      return step;
    } finally {
      this.#drafter?.release();
    }
  }

  /** The sequences are the host's again. */
  end(): void {
    this.#drafter?.end();
    this.#lanes.end();
  }

  /** @param ofSequences lanes whose results are read */
  async #run(size: StepSize, ofSequences: readonly number[]): Promise<ResidentStep> {
    const slot = this.#ring.take();
    const timer = this.#timers[slot];
    const bytes = this.#lanes.size;
    this.#tables.send();
    this.#drafter?.sendTables();
    const encoder = this.#gpu.device.createCommandEncoder();
    this.#encode(encoder, size, timer);
    this.#ring.encodeCopy(encoder, slot, this.#lanes.buffer, bytes);
    this.#sampling.encodeCopy(encoder, slot);
    timer?.resolve(encoder);
    this.#gpu.device.queue.submit([encoder.finish()]);
    const [words, logprobs] = await Promise.all([
      this.#ring.read(slot, bytes),
      this.#sampling.read(slot, size.numRows),
    ]);
    const lanes = ofSequences.map((index) => {
      const lane = readLane(this.#shape, words, index);
      const ofLane = logprobs && this.#sampling.logprobsOf(index, logprobs, lane);
      return ofLane ? { ...lane, logprobs: ofLane } : lane;
    });
    if (timer === undefined) return { lanes };
    const [draftMs = 0, forwardMs = 0, sampleMs = 0] = await timer.read();
    return { lanes, times: { draftMs, forwardMs, sampleMs } };
  }

  /** One pass, or one for each part where the parts are measured. */
  #encode(encoder: GPUCommandEncoder, size: StepSize, timer: PassTimer | undefined): void {
    const { numLanes, numNodes, numRows, maxPosition } = size;
    const params = { numLanes, numNodes, numRows };
    const passSize = this.#runner.sizeOf(numRows, numRows, maxPosition);
    let pass = encoder.beginComputePass(timer ? { timestampWrites: timer.writes(0) } : {});
    const nextPart = (part: number) => {
      if (timer === undefined) return;
      pass.end();
      pass = encoder.beginComputePass({ timestampWrites: timer.writes(part) });
    };
    this.#sampling.encodeCounts(pass);
    this.#drafter?.encode(pass, size, this.#sampling.wants);
    nextPart(1);
    if (numRows < numLanes * numNodes) this.#ops.budget(pass, params);
    this.#ops.rows(pass, params);
    this.#runner.encodeForward(pass, passSize);
    nextPart(2);
    this.#runner.encodeSample(pass, passSize, this.#sampling.wants);
    this.#ops.walk(pass, params);
    this.#sampling.encodeHistory(pass, params);
    this.#runner.kv.encodeCommit(pass, numLanes, this.#shape.maxRecent - 1);
    pass.end();
  }

  #stepSize(numAhead: number, sequences: readonly Sequence[], limits: TreeLimits): StepSize {
    const { numLookaheadNodes, maxDraftDepth: depth } = limits;
    const numLanes = this.#lanes.count;
    const mostTokens = Math.max(...sequences.map(({ numTokens }) => this.#mostTokens(numTokens, numAhead)));
    const maxPosition = Math.min(mostTokens - 1 + depth, this.#runner.options.maxModelLen - 1);
    const numRecent = this.#numRecent;
    const sizes = { numNodes: 1 + numTreeSlots(limits), numRows: numLanes * (1 + numLookaheadNodes) };
    return { numLanes, numRecent, ...sizes, depth, maxPosition };
  }

  /** Tokens that a sequence may have once `numAhead` more steps have ended. */
  #mostTokens(numTokens: number, numAhead: number): number {
    return this.#mostEmitted.slice(0, numAhead).reduce((sum, most) => sum + most, numTokens);
  }
}
