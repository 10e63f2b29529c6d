import type { Binding } from "../kernel.ts";
import { type Op, type OpContext, threadsOp } from "../op.ts";
import { type BatchSections, type LaneOp, laneOp } from "./lane-steps.ts";
import type { LaneShape } from "./lanes.ts";
import { logitsStride, SAMPLING_ROW_BYTES } from "./sampling.ts";

/** Tokens of one sequence that end it. */
export const MAX_END_TOKENS = 128;
export const MAX_BIASES = 1024;
/** Longest repetition that DRY tells from shorter ones. */
export const MAX_DRY_MATCH = 50;

/** "Don't repeat yourself" (wgsl/dry_penalty.wgsl). */
export interface DryPenalty {
  /** Above 0. */
  readonly multiplier: number;
  /** At least 1. */
  readonly base: number;
  /** Repetitions up to this long, at least 1, may be prolonged at no cost but `multiplier`. */
  readonly allowedLength: number;
  /** Tokens at the end that are looked at; undefined: all. */
  readonly range?: number;
  /** Tokens that no repetition reaches across. */
  readonly breakers: readonly number[];
}

/** What a sequence's logits go through before they are drawn from (wgsl/process_logits.wgsl). */
export interface LogitsProcessor {
  /** Above 0; 1 is off. */
  readonly repetitionPenalty: number;
  /** 0 is off; so it is with the next. */
  readonly presencePenalty: number;
  readonly frequencyPenalty: number;
  /** Added to tokens' logits; no token twice. */
  readonly logitBias: readonly (readonly [tokenId: number, bias: number])[];
  /** Tokens that may not be drawn at positions below `minPosition`. */
  readonly endTokenIds: readonly number[];
  readonly minPosition: number;
  readonly dry?: DryPenalty;
  readonly numPromptTokens: number;
  /** Known tokens, prompt and output. */
  readonly tokenIds: readonly number[];
}

export interface ProcessorShape {
  readonly vocabSize: number;
  /** Tokens of the longest sequence. */
  readonly maxHistory: number;
}

const MAX_STRIPES = 4096;
const HEAD_WORDS = 16;
const ENDS = HEAD_WORDS;
const BIASES = ENDS + MAX_END_TOKENS;
const HISTORY = BIASES + 2 * MAX_BIASES;

/** Bytes from one processor to the next. */
export function processorBytes({ vocabSize, maxHistory }: ProcessorShape): number {
  return 4 * (HISTORY + maxHistory + Math.ceil(vocabSize / 32));
}

/**
 * One processor as the kernels read it (wgsl/processor.wgsl), as far as it is in use.
 * @throws RangeError when it holds more than fits
 */
export function packProcessor(shape: ProcessorShape, processor: LogitsProcessor): Uint32Array<ArrayBuffer> {
  const { endTokenIds, logitBias, tokenIds, repetitionPenalty, dry } = processor;
  checkRoom("end tokens", endTokenIds.length, MAX_END_TOKENS);
  checkRoom("biases", logitBias.length, MAX_BIASES);
  checkRoom("known tokens", tokenIds.length, shape.maxHistory);
  const breakers = HISTORY + shape.maxHistory;
  const words = new Uint32Array(dry ? processorBytes(shape) / 4 : HISTORY + tokenIds.length);
  const floats = new Float32Array(words.buffer);
  floats.set([repetitionPenalty, 1 / repetitionPenalty, processor.presencePenalty, processor.frequencyPenalty]);
  words.set([processor.numPromptTokens, tokenIds.length, processor.minPosition], 4);
  words.set([endTokenIds.length, logitBias.length], 7);
  words.set(endTokenIds, ENDS);
  for (const [i, [tokenId, bias]] of logitBias.entries()) {
    words[BIASES + 2 * i] = tokenId;
    floats[BIASES + 2 * i + 1] = bias;
  }
  words.set(tokenIds, HISTORY);
  if (dry) {
    floats.set([dry.multiplier, dry.base], 9);
    words.set([dry.allowedLength, dry.range ?? 0xffffffff], 11);
    for (const token of dry.breakers) {
      const word = breakers + (token >>> 5);
      words[word] = (words[word] ?? 0) | (1 << (token & 31));
    }
  }
  return words;
}

function checkRoom(what: string, count: number, limit: number): void {
  if (count > limit) throw new RangeError(`a logits processor has ${count} ${what}, at most ${limit} fit`);
}

export interface ProcessorBuffers {
  /** Sections of the pass that draws. */
  readonly batch: BatchSections & { readonly buffer: GPUBuffer };
  /** `processorBytes` each. */
  readonly processors: GPUBuffer;
  /** Scratch u32 [numProcessors, vocabSize]. */
  readonly counts: GPUBuffer;
  /** f32 [numLogits, logitsStride(vocabSize)], left as it is */
  readonly logits: GPUBuffer;
  /** The same, processed. */
  readonly processed: GPUBuffer;
}

/** The parts of processing; they run in this order, and each may be left out where no sequence of the pass needs it. */
export interface ProcessorOps {
  /** Counts tokens of `numProcessors` sequences, for penalties. */
  readonly count: (pass: GPUComputePassEncoder, numProcessors: number) => void;
  /** Fills `processed`: everything but DRY. */
  readonly process: Op;
  readonly dry: Op;
}

export async function processLogits(
  context: OpContext,
  shape: ProcessorShape,
  buffers: ProcessorBuffers,
): Promise<ProcessorOps> {
  const { batch, processors, counts, logits, processed } = buffers;
  const sections = {
    ...{ TOKEN_IDS: batch.tokenIds / 4, ROW_INFO: batch.rowInfo / 4, LOGIT_ROWS: batch.logitRows / 4 },
    ...{ SAMPLING_ROWS: batch.samplingRows / 4, TABLES: batch.tables / 4, MAX_MATCH: MAX_DRY_MATCH },
  };
  const [count, process, dry] = await Promise.all([
    stripedOp(context, shape, ["token_counts"], [processors, counts]),
    stripedOp(
      context,
      shape,
      ["processed_row", "process_logits"],
      [batch.buffer, processors, counts, logits, processed],
      sections,
    ),
    stripedOp(context, shape, ["processed_row", "dry_penalty"], [batch.buffer, processors, processed], sections),
  ]);
  return {
    count: (pass, numProcessors) => count(pass, { numRows: 0, numSplits: 0, numLogits: numProcessors }),
    ...{ process, dry },
  };
}

/**
 * The same for rows that draft, by their sequence's known tokens alone and without DRY (wgsl/processed_row_known.wgsl).
 * @param rows SamplingRow [numLogits]
 */
export function processDraftLogits(
  context: OpContext,
  shape: ProcessorShape,
  { rows, processors, counts, logits, processed }: Omit<ProcessorBuffers, "batch"> & { readonly rows: Binding },
): Promise<Op> {
  const bindings = [rows, processors, counts, logits, processed];
  return stripedOp(context, shape, ["processed_row_known", "process_logits"], bindings);
}

/** A kernel with a thread for each stripe of each row. */
function stripedOp(
  context: OpContext,
  shape: ProcessorShape,
  shader: readonly string[],
  bindings: readonly Binding[],
  constants: Readonly<Record<string, number>> = {},
): Promise<Op> {
  const { vocabSize } = shape;
  const [numStripes, workgroupSize] = stripesOf(context, vocabSize);
  return threadsOp(
    context,
    {
      shader: ["processor", ...shader],
      constants: {
        ...{ ...processorConstants(shape), ...constants, LOGITS_STRIDE: logitsStride(vocabSize) },
        ...{ NUM_STRIPES: numStripes, WORKGROUP_SIZE: workgroupSize },
      },
      numImmediates: 1,
    },
    bindings,
    workgroupSize,
    ({ numLogits }) => numLogits * numStripes,
    ({ numLogits }) => [numLogits],
  );
}

/** Stripes of the vocabulary that a row is divided into, and threads of a workgroup: a GPU wants many. */
function stripesOf({ family }: OpContext, vocabSize: number): readonly [numStripes: number, workgroupSize: number] {
  return family.name === "portable"
    ? [2 ** Math.max(1, Math.round(Math.log2(vocabSize) / 2)), 8]
    : [Math.min(MAX_STRIPES, Math.ceil(vocabSize / 32) * 32), 64];
}

/** Makes known to the lanes' processors what the walk has emitted (wgsl/lane_history.wgsl). */
export function laneHistory(
  context: OpContext,
  laneShape: LaneShape,
  shape: ProcessorShape,
  { lanes, processors }: { readonly lanes: GPUBuffer; readonly processors: GPUBuffer },
): Promise<LaneOp> {
  const spec = { shader: ["processor", "lane_history"], constants: processorConstants(shape) };
  return laneOp(context, laneShape, spec, [lanes, processors], ({ numLanes }) => numLanes);
}

function processorConstants({ vocabSize, maxHistory }: ProcessorShape) {
  return {
    ...{ VOCAB_SIZE: vocabSize, MAX_HISTORY: maxHistory, MAX_ENDS: MAX_END_TOKENS, MAX_BIASES },
    SAMPLING_ROW_WORDS: SAMPLING_ROW_BYTES / 4,
    // Overridden where the vocabulary is divided.
    NUM_STRIPES: 1,
  };
}
