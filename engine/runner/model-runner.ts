import {
  attentionSplits,
  type Binding,
  type GpuContext,
  OFFSET_UNIT,
  type Op,
  type PassSize,
  PassTimer,
  readMapped,
  roundUp,
  type SamplerBuffers,
  sample,
  samplerScratch,
} from "../../kernels/index.ts";
import { type FeatureTap, llama } from "../model/llama.ts";
import type { LlamaConfig, WeightSource } from "../model/types.ts";
import { type Activations, createActivations } from "./activations.ts";
import { BatchBuilder, type BatchSequence, batchLayout } from "./batch.ts";
import { DraftProcessing } from "./draft-processing.ts";
import { type InputBuffers, Inputs } from "./inputs.ts";
import { KvStorage } from "./kv-storage.ts";
import { NO_WANTS, RequestSampling, type SamplingWants } from "./request-sampling.ts";
import type { RowLogprobs } from "./token-logprobs.ts";
import { type LlamaWeights, onDevice } from "./weights.ts";

export interface RunnerOptions {
  /** Rows of one pass. */
  readonly maxRows: number;
  /** Rows of one pass whose logits are wanted. */
  readonly maxLogits: number;
  readonly maxModelLen: number;
  /** Blocks of the KV cache, the reserved one included. */
  readonly numBlocks: number;
  /** Moves of accepted nodes that the device may be told of at once; as many as rows where it is left out. */
  readonly maxMoves?: number;
  /** Words of all block tables and tree paths of a pass. */
  readonly maxTableWords: number;
  /** Best tokens kept of each sampled row: 1 to draw, more to propose. */
  readonly topK: number;
  /** Sequences of a pass whose requests may want more than filters (`RequestSampling`); left out: they are ignored. */
  readonly maxRequests?: number;
  /** The target's, where this runner drafts for it. */
  readonly requestSampling?: RequestSampling | undefined;
  /** Hidden states to keep of every row, at its slot of the cache (`KvStorage.features`), one after the other. */
  readonly features?: readonly FeatureTap[];
  /** Measure every pass (`ModelRunner.profile`); needs the feature timestamp-query. */
  readonly profile?: boolean;
}

/** What a pass drew, in the order of the batch's samples. */
export interface SampledRows {
  /** u32 [numLogits, topK], best first; NO_TOKEN where a row's logits left nothing to choose. */
  readonly tokenIds: Uint32Array;
  /** f32 [numLogits, topK]: log softmax over scores, only filled where topK > 1 */
  readonly logShares: Float32Array;
  /** Where a sequence of the batch wants them. */
  readonly logprobs?: RowLogprobs;
}

/** u32 and f32 [numLogits, topK], as `SampledRows`. */
export interface DrawnBuffers {
  readonly tokens: Binding;
  readonly logShares: Binding;
}

/** Where a pass's time on the device went, in ms. */
export interface PassTimes {
  /** From token ids to logits. */
  readonly forwardMs: number;
  /** From logits to drawn tokens. */
  readonly sampleMs: number;
}

/** What a decoder's kernels are bound to beside its weights. */
export interface DecoderBuffers {
  readonly activations: Activations;
  readonly inputs: InputBuffers;
  readonly kv: KvStorage;
}

/** A model as a list of kernel calls, from the rows of a batch to the logits that are wanted. */
export type Decoder = (buffers: DecoderBuffers) => Promise<readonly Op[]>;

/** A Llama model, or sizes of one and a decoder that is almost one. */
export type RunnableModel = { readonly config: LlamaConfig } & (
  | { readonly weights: WeightSource | LlamaWeights }
  | { readonly decoder: Decoder }
);

/** One model on one device: takes batches of sequences' rows, keeps their K/V, gives back drawn tokens. */
export class ModelRunner {
  readonly kv: KvStorage;
  readonly options: RunnerOptions;
  /** Where passes read their rows; kernels may write them there instead of `run`. */
  readonly inputs: Inputs;
  /** Where passes leave what they drew. */
  readonly drawn: DrawnBuffers;
  readonly requestSampling: RequestSampling | undefined;
  readonly #sampling: RequestSampling | DraftProcessing | undefined;
  readonly #gpu: GpuContext;
  readonly #config: LlamaConfig;
  readonly #batch: BatchBuilder;
  readonly #activations: Activations;
  readonly #forward: readonly Op[];
  readonly #sample: Op;
  /** Token ids, then log shares; each [maxLogits, topK] u32 or f32. */
  readonly #results: GPUBuffer;
  readonly #resultsRead: GPUBuffer;
  readonly #logprobsRead: GPUBuffer | undefined;
  readonly #timer: PassTimer | undefined;
  #profile: PassTimes | undefined;

  private constructor(
    parts: {
      readonly gpu: GpuContext;
      readonly config: LlamaConfig;
      readonly options: RunnerOptions;
      readonly kv: KvStorage;
      readonly batch: BatchBuilder;
      readonly inputs: Inputs;
      readonly activations: Activations;
    },
    ops: {
      readonly forward: readonly Op[];
      readonly sample: Op;
      readonly results: GPUBuffer;
      readonly drawn: DrawnBuffers;
      readonly requestSampling: RequestSampling | undefined;
      readonly draftProcessing: DraftProcessing | undefined;
    },
  ) {
    this.kv = parts.kv;
    this.options = parts.options;
    this.#gpu = parts.gpu;
    this.#config = parts.config;
    this.#batch = parts.batch;
    this.inputs = parts.inputs;
    this.#activations = parts.activations;
    this.#forward = ops.forward;
    this.#sample = ops.sample;
    this.#results = ops.results;
    this.drawn = ops.drawn;
    this.requestSampling = ops.requestSampling;
    this.#sampling = ops.requestSampling ?? ops.draftProcessing;
    const { pool } = parts.gpu;
    this.#resultsRead = pool.readback(ops.results.size, "resultsRead");
    this.#logprobsRead = ops.requestSampling && pool.readback(ops.requestSampling.logprobs.size, "logprobsRead");
    const canProfile = parts.options.profile === true && parts.gpu.device.features.has("timestamp-query");
    this.#timer = canProfile ? new PassTimer(parts.gpu.device, pool, 2) : undefined;
  }

  /**
   * Uploads the weights, unless they are on the device already, and compiles every kernel.
   * @param model uploaded weights must have RoPE's table for `maxModelLen` positions; they stay their owner's
   * @throws ModelFileError, GpuError
   */
  static async create(gpu: GpuContext, model: RunnableModel, options: RunnerOptions): Promise<ModelRunner> {
    const { config } = model;
    const { maxRows, maxLogits, maxModelLen, numBlocks, topK, maxRequests, maxMoves = maxRows } = options;
    const { vocabSize } = config;
    const layout = batchLayout(maxRows, maxLogits, options.maxTableWords);
    const inputs = new Inputs(gpu.device, gpu.pool, layout);
    const activations = createActivations(gpu, config, { maxRows, maxLogits, maxModelLen });
    const decoder = "decoder" in model ? model.decoder : llamaDecoder(gpu, config, model.weights, options);
    const featureSize = (options.features?.length ?? 0) * config.hiddenSize;
    const kv = await KvStorage.create(gpu, config, { numBlocks, maxMoves, featureSize });
    const bytes = resultBytes(options);
    const results = gpu.pool.storage(2 * bytes, "results");
    const section = (offset: number) => ({ buffer: results, offset, size: bytes });
    const drawn = { tokens: section(0), logShares: section(bytes) };
    const draw: SamplerBuffers = {
      ...{ logits: activations.logits.buffer, rows: inputs.buffers.samplingRows, ...drawn },
      ...samplerScratch(gpu.pool, { vocabSize, topK }, maxLogits),
    };
    const sizes = { vocabSize, maxLogits, maxModelLen };
    const requestSampling =
      maxRequests === undefined
        ? undefined
        : new RequestSampling(gpu, { ...sizes, maxProcessors: maxRequests }, inputs, draw);
    const draftProcessing = DraftProcessing.over(gpu, options.requestSampling, { vocabSize, maxLogits, topK }, draw);
    const [forward, sampleOp] = await Promise.all([
      decoder({ activations, inputs: inputs.buffers, kv }),
      sample(gpu, { vocabSize, topK, withShares: topK > 1 }, draw),
    ]);
    const batch = new BatchBuilder(layout);
    return new ModelRunner(
      { gpu, config, options, kv, batch, inputs, activations },
      { forward, sample: sampleOp, results, drawn, requestSampling, draftProcessing },
    );
  }

  /**
   * One pass: computes every row, writes its K/V, draws where `sampling` is set.
   * @throws GpuError when the device failed; then nothing of the pass may be used.
   */
  async run(sequences: readonly BatchSequence[]): Promise<SampledRows> {
    this.#batch.reset();
    for (const sequence of sequences) this.#batch.add(sequence);
    const logprobs =
      this.requestSampling !== undefined && sequences.some(({ sampling }) => sampling?.params.logprobs !== undefined);
    const wants = this.#sampling ? { processors: this.#batch.processors, logprobs } : NO_WANTS;
    await this.#sampling?.prepare(wants);
    return this.#gpu.guard.run(() => this.#submit(wants));
  }

  /** Of the last pass, where the runner was made to measure and the device can. */
  get profile(): PassTimes | undefined {
    return this.#profile;
  }

  /** @param maxPosition highest position of any row, or more: how many splits there are never shows in a result */
  sizeOf(numRows: number, numLogits: number, maxPosition: number): PassSize {
    const numSplits = attentionSplits(this.#gpu, this.#config.headDim, maxPosition);
    return { numRows, numLogits, numSplits };
  }

  /** From the rows in `inputs` to logits. */
  encodeForward(pass: GPUComputePassEncoder, size: PassSize): void {
    for (const op of this.#forward) op(pass, size);
  }

  /** Whether passes can be encoded for which requests want this; `run` sees to it by itself. */
  isReady(wants: SamplingWants): boolean {
    return this.#sampling?.isReady(wants) ?? true;
  }

  /** From logits to `drawn`, after `encodeCounts` of the target's `requestSampling`. @param wants for which this `isReady` */
  encodeSample(pass: GPUComputePassEncoder, size: PassSize, wants = NO_WANTS): void {
    if (size.numLogits === 0) return;
    if (this.#sampling) this.#sampling.encode(pass, size, wants, this.#sample);
    else this.#sample(pass, size);
  }

  async #submit(wants: SamplingWants): Promise<SampledRows> {
    const { numRows, numLogits, maxPosition } = this.#batch;
    const size = this.sizeOf(numRows, numLogits, maxPosition);
    this.inputs.write(this.#batch);
    this.#sampling?.load(wants.processors);
    const encoder = this.#gpu.device.createCommandEncoder();
    this.#encodePass(encoder, 0, (pass) => this.encodeForward(pass, size));
    this.#encodePass(encoder, 1, (pass) => {
      this.#sampling?.encodeCounts(pass, wants);
      this.encodeSample(pass, size, wants);
    });
    encoder.copyBufferToBuffer(this.#results, 0, this.#resultsRead, 0, this.#results.size);
    const logprobs = wants.logprobs && numLogits > 0 ? this.#copyLogprobs(encoder) : undefined;
    this.#timer?.resolve(encoder);
    this.#gpu.device.queue.submit([encoder.finish()]);
    const bytes = await readMapped(this.#resultsRead);
    await this.#measure();
    const count = numLogits * this.options.topK;
    return {
      tokenIds: new Uint32Array(bytes, 0, count),
      logShares: new Float32Array(bytes, resultBytes(this.options), count),
      ...(logprobs ? { logprobs: await logprobs(numLogits) } : {}),
    };
  }

  /** @returns what reads the copy, once the work is submitted */
  #copyLogprobs(encoder: GPUCommandEncoder): ((numLogits: number) => Promise<RowLogprobs>) | undefined {
    const [sampling, read] = [this.requestSampling, this.#logprobsRead];
    if (sampling === undefined || read === undefined) return undefined;
    encoder.copyBufferToBuffer(sampling.logprobs, 0, read, 0, sampling.logprobs.size);
    return async (numLogits) => sampling.readLogprobs(await readMapped(read), numLogits);
  }

  #encodePass(encoder: GPUCommandEncoder, index: number, encode: (pass: GPUComputePassEncoder) => void): void {
    const pass = encoder.beginComputePass(this.#timer ? { timestampWrites: this.#timer.writes(index) } : {});
    encode(pass);
    pass.end();
  }

  async #measure(): Promise<void> {
    if (!this.#timer) return;
    const [forwardMs = 0, sampleMs = 0] = await this.#timer.read();
    this.#profile = { forwardMs, sampleMs };
  }

  /** Logits f32 [numLogits, vocabSize] of the last pass, for tests and tools. */
  async readLogits(): Promise<Float32Array[]> {
    const { buffer, numOutputs } = this.#activations.logits;
    const all = new Float32Array(await this.#gpu.pool.read(buffer, 0, 4 * numOutputs * this.#batch.numLogits));
    return Array.from({ length: this.#batch.numLogits }, (_, i) =>
      all.slice(i * numOutputs, i * numOutputs + this.#config.vocabSize),
    );
  }
}

function llamaDecoder(
  gpu: GpuContext,
  config: LlamaConfig,
  source: WeightSource | LlamaWeights,
  { maxModelLen, features = [] }: RunnerOptions,
): Decoder {
  const weights = onDevice(gpu, config, source, maxModelLen);
  return (buffers) => llama(gpu, config, { ...buffers, weights }, features);
}

function resultBytes({ maxLogits, topK }: RunnerOptions): number {
  return roundUp(4 * maxLogits * topK, OFFSET_UNIT);
}
