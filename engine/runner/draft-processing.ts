import {
  type GpuContext,
  logitsStride,
  type Op,
  type PassSize,
  processDraftLogits,
  type SamplerBuffers,
  sample,
} from "../../kernels/index.ts";
import { invariant } from "../../kvcache/invariant.ts";
import type { RequestSampling, SamplingWants } from "./request-sampling.ts";

export interface DraftDraws {
  readonly vocabSize: number;
  readonly maxLogits: number;
  /** Candidates of a row. */
  readonly topK: number;
}

interface Processing {
  readonly process: Op;
  /** Draws from the processed logits. */
  readonly sample: Op;
}

/**
 * Penalties and biases for what a drafter guesses with, so that it guesses what will be drawn. They are the target's own, by the same
 * numbers in sampling rows, and count the known tokens alone; DRY is left out. As with the target's, kernels are compiled when the first request
 * wants them.
 */
export class DraftProcessing {
  readonly #gpu: GpuContext;
  readonly #target: RequestSampling;
  readonly #draws: DraftDraws;
  readonly #buffers: SamplerBuffers;
  readonly #processed: GPUBuffer;
  #processing: Processing | undefined;

  private constructor(gpu: GpuContext, target: RequestSampling, draws: DraftDraws, buffers: SamplerBuffers) {
    this.#gpu = gpu;
    this.#target = target;
    this.#draws = draws;
    this.#buffers = buffers;
    this.#processed = gpu.pool.storage(4 * draws.maxLogits * logitsStride(draws.vocabSize), "draftProcessed");
  }

  /**
   * @param target undefined where the target's requests want no more than filters
   * @returns undefined then, and where the drafter has other tokens than the target @throws GpuError out_of_memory
   */
  static over(
    gpu: GpuContext,
    target: RequestSampling | undefined,
    draws: DraftDraws,
    buffers: SamplerBuffers,
  ): DraftProcessing | undefined {
    if (target === undefined || target.shape.vocabSize !== draws.vocabSize) return undefined;
    return new DraftProcessing(gpu, target, draws, buffers);
  }

  /** Whether `encode` can be called; if not, `prepare` comes first. */
  isReady(wants: SamplingWants): boolean {
    return wants.processors.length === 0 || (this.#processing !== undefined && this.#target.isReady(wants));
  }

  /** Compiles what is lacking. */
  async prepare(wants: SamplingWants): Promise<void> {
    if (this.isReady(wants)) return;
    await Promise.all([this.#target.prepare(wants), this.#compile()]);
  }

  /** Sends processors to where the target's are: what is sent for its own pass comes later. */
  load(processors: SamplingWants["processors"]): void {
    this.#target.load(processors);
  }

  encodeCounts(pass: GPUComputePassEncoder, wants: SamplingWants): void {
    this.#target.encodeCounts(pass, wants);
  }

  /** From logits to drawn tokens, after `encodeCounts`. @param draw draws from the logits as they are */
  encode(pass: GPUComputePassEncoder, size: PassSize, wants: SamplingWants, draw: Op): void {
    invariant(this.isReady(wants), "what drafting wants is not compiled");
    if (this.#processing && wants.processors.length > 0) {
      this.#processing.process(pass, size);
      this.#processing.sample(pass, size);
    } else draw(pass, size);
  }

  async #compile(): Promise<void> {
    const { shape, processors, counts } = this.#target;
    const { vocabSize, topK } = this.#draws;
    const { logits, rows } = this.#buffers;
    const processed = this.#processed;
    const [process, sampleOp] = await Promise.all([
      processDraftLogits(this.#gpu, shape, { rows, processors, counts, logits, processed }),
      sample(this.#gpu, { vocabSize, topK, withShares: true }, { ...this.#buffers, logits: processed }),
    ]);
    this.#processing = { process, sample: sampleOp };
  }
}
