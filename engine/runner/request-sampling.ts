import {
  type GpuContext,
  type LogitsProcessor,
  logitsStride,
  logProbLayout,
  logProbs,
  NUM_BEST,
  type Op,
  type PassSize,
  type ProcessorOps,
  type ProcessorShape,
  packProcessor,
  processLogits,
  processorBytes,
  type SamplerBuffers,
  sample,
} from "../../kernels/index.ts";
import { invariant } from "../../kvcache/invariant.ts";
import type { Inputs } from "./inputs.ts";
import { hasPenalties } from "./logits-processor.ts";
import type { RowLogprobs } from "./token-logprobs.ts";

/** What a pass does around its draws because a request asks for it. */
export interface SamplingWants {
  /** By the number that sampling rows know them by. */
  readonly processors: readonly LogitsProcessor[];
  readonly logprobs: boolean;
}

export const NO_WANTS: SamplingWants = { processors: [], logprobs: false };

export interface RequestSamplingSizes {
  readonly vocabSize: number;
  readonly maxLogits: number;
  readonly maxModelLen: number;
  /** Sequences of a pass. */
  readonly maxProcessors: number;
}

interface Processing extends ProcessorOps {
  /** Draws from the processed logits. */
  readonly sample: Op;
}

/**
 * Penalties, biases and log-probabilities: the parts of sampling that most passes do without. Its memory is reserved with the
 * model's; its kernels are compiled when the first request wants them, so that starting does not wait for them.
 */
export class RequestSampling {
  readonly shape: ProcessorShape;
  readonly processors: GPUBuffer;
  /** u32 [maxProcessors, vocabSize], as `encodeCounts` has left them. */
  readonly counts: GPUBuffer;
  /** What `readLogprobs` reads, once a pass has run. */
  readonly logprobs: GPUBuffer;
  readonly #gpu: GpuContext;
  readonly #sizes: RequestSamplingSizes;
  readonly #inputs: Inputs;
  readonly #draw: SamplerBuffers;
  readonly #processed: GPUBuffer;
  readonly #logprobScratch: { readonly greedyRows: GPUBuffer; readonly candidates: GPUBuffer };
  readonly #logprobLayout: ReturnType<typeof logProbLayout>;
  #processing: Processing | undefined;
  #logProbs: Op | undefined;

  /** @throws GpuError out_of_memory */
  constructor(gpu: GpuContext, sizes: RequestSamplingSizes, inputs: Inputs, draw: SamplerBuffers) {
    const { pool } = gpu;
    const { vocabSize, maxLogits, maxModelLen, maxProcessors } = sizes;
    const layout = logProbLayout(vocabSize, maxLogits);
    this.#gpu = gpu;
    this.#sizes = sizes;
    this.#inputs = inputs;
    this.#draw = draw;
    this.shape = { vocabSize, maxHistory: maxModelLen };
    this.processors = pool.storage(maxProcessors * processorBytes(this.shape), "processors");
    this.counts = pool.storage(4 * maxProcessors * vocabSize, "counts");
    this.#processed = pool.storage(4 * maxLogits * logitsStride(vocabSize), "processed");
    this.#logprobScratch = {
      greedyRows: pool.storage(layout.greedyRowBytes, "greedyRows"),
      candidates: pool.storage(layout.candidateBytes, "logprobCandidates"),
    };
    this.#logprobLayout = layout;
    this.logprobs = pool.storage(layout.resultBytes, "logprobs");
  }

  /** Whether `encode` can be called; if not, `prepare` comes first. */
  isReady({ processors, logprobs }: SamplingWants): boolean {
    return (processors.length === 0 || this.#processing !== undefined) && (!logprobs || this.#logProbs !== undefined);
  }

  /** Compiles what is lacking. */
  async prepare({ processors, logprobs }: SamplingWants): Promise<void> {
    await Promise.all([
      processors.length > 0 && this.#processing === undefined && this.#compileProcessing(),
      logprobs && this.#logProbs === undefined && this.#compileLogProbs(),
    ]);
  }

  /** Sends processors to the device, ahead of the passes that are submitted from now on. */
  load(processors: readonly LogitsProcessor[]): void {
    for (const [i, processor] of processors.entries()) {
      const words = packProcessor(this.shape, processor);
      this.#gpu.device.queue.writeBuffer(this.processors, i * processorBytes(this.shape), words);
    }
  }

  /** Counts tokens where penalties need it, for all passes until the next token is known. */
  encodeCounts(pass: GPUComputePassEncoder, { processors }: SamplingWants): void {
    if (processors.some(hasPenalties)) this.#processing?.count(pass, processors.length);
  }

  /** From logits to drawn tokens, as wanted, after `encodeCounts`. @param draw draws from the logits as they are */
  encode(pass: GPUComputePassEncoder, size: PassSize, wants: SamplingWants, draw: Op): void {
    invariant(this.isReady(wants), "what sampling wants is not compiled");
    const { processors, logprobs } = wants;
    const processing = this.#processing;
    if (processing && processors.length > 0) {
      processing.process(pass, size);
      if (processors.some(({ dry }) => dry !== undefined)) processing.dry(pass, size);
      processing.sample(pass, size);
    } else draw(pass, size);
    if (logprobs) this.#logProbs?.(pass, size);
  }

  /** @param bytes a copy of the buffer `logprobs` */
  readLogprobs(bytes: ArrayBuffer, numLogits: number): RowLogprobs {
    const { best, bestLogProbs, drawnLogProbs } = this.#logprobLayout;
    return {
      best: new Uint32Array(bytes, best.offset, numLogits * NUM_BEST),
      bestLogprobs: new Float32Array(bytes, bestLogProbs.offset, numLogits * NUM_BEST),
      drawn: new Float32Array(bytes, drawnLogProbs.offset, numLogits),
    };
  }

  async #compileProcessing(): Promise<void> {
    const { layout, buffer } = this.#inputs;
    const { logits } = this.#draw;
    const [ops, sampleOp] = await Promise.all([
      processLogits(this.#gpu, this.shape, {
        ...{ batch: { ...layout, buffer }, logits, processed: this.#processed },
        ...{ processors: this.processors, counts: this.counts },
      }),
      sample(
        this.#gpu,
        { vocabSize: this.shape.vocabSize, topK: 1, withShares: false },
        { ...this.#draw, logits: this.#processed },
      ),
    ]);
    this.#processing = { ...ops, sample: sampleOp };
  }

  async #compileLogProbs(): Promise<void> {
    const { logits, tokens, threshold, sums } = this.#draw;
    this.#logProbs = await logProbs(this.#gpu, this.#sizes, {
      ...{ logits, drawn: tokens, threshold, sums, ...this.#logprobScratch, results: this.logprobs },
    });
  }
}
