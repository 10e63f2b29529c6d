import {
  type GpuContext,
  type LaneOp,
  type LaneParams,
  type LaneResult,
  type LaneShape,
  type LogitsProcessor,
  laneHistory,
  type SamplingRow,
} from "../../kernels/index.ts";
import type { Sequence } from "../../scheduler/sequence.ts";
import { processorOf } from "../runner/logits-processor.ts";
import { NO_WANTS, type RequestSampling, type SamplingWants } from "../runner/request-sampling.ts";
import { pathLogprobs, type RowLogprobs, type TokenLogprobs } from "../runner/token-logprobs.ts";
import type { SamplingParams } from "../sampling-params.ts";
import { walkedNodes } from "../speculative/walk.ts";
import { ReadbackRing } from "./readback-ring.ts";

interface SampledLane {
  readonly sequence: Sequence;
  readonly params: SamplingParams;
  readonly choice: number;
}

interface LaneDraws {
  readonly sequence: Sequence;
  readonly sampling: SamplingRow;
}

/** What lanes' requests want of their draws beyond filters: processors that learn of each step's tokens, log-probabilities. */
export class LaneSampling {
  readonly #sampling: RequestSampling;
  readonly #history: LaneOp;
  /** Slot by slot with the ring of the lanes themselves. */
  readonly #ring: ReadbackRing;
  /** Its processors are as they were when the lanes were set up. */
  #wants = NO_WANTS;
  /** Best tokens whose log-probabilities each lane's request asks for. */
  #numTop: readonly (number | undefined)[] = [];

  private constructor(sampling: RequestSampling, history: LaneOp, ring: ReadbackRing) {
    this.#sampling = sampling;
    this.#history = history;
    this.#ring = ring;
  }

  static async create(
    gpu: GpuContext,
    sampling: RequestSampling,
    shape: LaneShape,
    lanes: GPUBuffer,
    numSlots: number,
  ): Promise<LaneSampling> {
    const { processors, logprobs } = sampling;
    const history = await laneHistory(gpu, shape, sampling.shape, { lanes, processors });
    return new LaneSampling(sampling, history, new ReadbackRing(gpu.pool, numSlots, logprobs.size));
  }

  get wants(): SamplingWants {
    return this.#wants;
  }

  /**
   * Sets the device up for the requests, a lane each.
   * @returns each lane's sampling row, but for its position; undefined where kernels that are wanted are not there yet
   */
  start(requests: readonly SampledLane[]): readonly LaneDraws[] | undefined {
    const ofLanes = requests.map(({ params, sequence }) => processorOf(params, sequence));
    const processors = ofLanes.filter((processor) => processor !== undefined);
    const wants = { processors, logprobs: requests.some(({ params }) => params.logprobs !== undefined) };
    if (!this.#sampling.isReady(wants)) return undefined;
    this.#sampling.load(processors);
    this.#wants = wants;
    this.#numTop = requests.map(({ params }) => params.logprobs);
    return requests.map(({ sequence, params, choice }, lane) => ({
      sequence,
      sampling: { ...params, choice, position: 0, ...placeOf(ofLanes[lane], processors) },
    }));
  }

  /** Counts for the step's drafts and draws what processors know. */
  encodeCounts(pass: GPUComputePassEncoder): void {
    this.#sampling.encodeCounts(pass, this.#wants);
  }

  /** To follow the walk, whose tokens the processors are to know. */
  encodeHistory(pass: GPUComputePassEncoder, params: LaneParams): void {
    if (this.#wants.processors.length > 0) this.#history(pass, params);
  }

  encodeCopy(encoder: GPUCommandEncoder, slot: number): void {
    const { logprobs } = this.#sampling;
    if (this.#wants.logprobs) this.#ring.encodeCopy(encoder, slot, logprobs, logprobs.size);
  }

  /** Log-probabilities of the step's rows; undefined where no lane wants them. */
  async read(slot: number, numLogits: number): Promise<RowLogprobs | undefined> {
    if (!this.#wants.logprobs) return undefined;
    return this.#sampling.readLogprobs(await this.#ring.read(slot, this.#sampling.logprobs.size), numLogits);
  }

  /** Those of what a lane emitted, if its request asks for them. */
  logprobsOf(
    lane: number,
    rows: RowLogprobs,
    { tree, firstRow, emitted }: LaneResult,
  ): readonly TokenLogprobs[] | undefined {
    const numTop = this.#numTop[lane];
    if (numTop === undefined) return undefined;
    const { tokenIds, parents } = tree;
    const nodes = walkedNodes({ tokenIds, parents: [-1, ...parents.slice(1)] }, emitted);
    return pathLogprobs(
      rows,
      nodes.map((node) => firstRow + node),
      emitted,
      numTop,
    );
  }
}

function placeOf(processor: LogitsProcessor | undefined, processors: readonly LogitsProcessor[]) {
  return processor ? { processor: processors.indexOf(processor) } : {};
}
