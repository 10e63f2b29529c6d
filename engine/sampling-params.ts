import { type DryPenalty, MAX_BIASES, MAX_END_TOKENS, NUM_BEST } from "../kernels/index.ts";

/**
 * How one sequence is sampled and when it ends. Plain data: it crosses the process boundary as it is.
 *
 * At each position, from the target's raw logits: `logitBias`; repetition, frequency and presence penalty; DRY; end tokens are
 * left out before `minTokens`; temperature; top-k, typical-p, top-p, min-p. Names and ranges are vLLM's where it has the setting,
 * llama.cpp's for typical-p and DRY.
 */
export interface SamplingParams {
  /** 0 is greedy: the arg-max of the logits after bias and penalties. */
  readonly temperature: number;
  /** Nucleus mass in (0, 1]; 1 is off. */
  readonly topP: number;
  /** Number of best tokens kept; 0 is off. */
  readonly topK: number;
  /** Tokens below `minP` times the best probability are dropped; 0 is off. */
  readonly minP: number;
  /** Mass of locally typical tokens that is kept, in (0, 1]; 1 is off. */
  readonly typicalP: number;
  /** Divides positive logits of tokens in prompt or output and multiplies negative ones; above 0, 1 is off. */
  readonly repetitionPenalty: number;
  /** Taken off the logits of tokens in the output. */
  readonly presencePenalty: number;
  /** Taken off a token's logit for each time that it is in the output. */
  readonly frequencyPenalty: number;
  readonly dry?: DryPenalty;
  /** Added to tokens' logits, at most MAX_BIASES; no token twice. */
  readonly logitBias: readonly (readonly [tokenId: number, bias: number])[];
  /** 64-bit seed, as two u32 words (low, high): the draw at a position is a function of (seed, choice, position). */
  readonly seed: readonly [low: number, high: number];
  /** Most tokens to generate, at least 1. */
  readonly maxTokens: number;
  /** Tokens before which none of `stopTokenIds` is drawn. */
  readonly minTokens: number;
  /** Ids that end the sequence, at most MAX_END_TOKENS; the ending id itself is emitted last. */
  readonly stopTokenIds: readonly number[];
  /** With every token, its log-probability and those of so many best tokens, 0 to 20; undefined: none of them. */
  readonly logprobs?: number;
}

export const GREEDY: SamplingParams = {
  temperature: 0,
  topP: 1,
  topK: 0,
  minP: 0,
  typicalP: 1,
  repetitionPenalty: 1,
  presencePenalty: 0,
  frequencyPenalty: 0,
  logitBias: [],
  seed: [0, 0],
  maxTokens: 128,
  minTokens: 0,
  stopTokenIds: [],
};

/** Why a sequence cannot be sampled like this, with value and limit; undefined where it can. */
export function refusalOf(params: SamplingParams, vocabSize: number): string | undefined {
  const { logitBias, stopTokenIds, logprobs = 0, repetitionPenalty, presencePenalty, frequencyPenalty, dry } = params;
  if (logitBias.length > MAX_BIASES) return `${logitBias.length} tokens have a bias, at most ${MAX_BIASES} may`;
  if (stopTokenIds.length > MAX_END_TOKENS) {
    return `${stopTokenIds.length} tokens end the sequence, at most ${MAX_END_TOKENS} may`;
  }
  const ids = [...logitBias.map(([tokenId]) => tokenId), ...stopTokenIds, ...(dry?.breakers ?? [])];
  const foreign = ids.find((id) => !Number.isInteger(id) || id < 0 || id >= vocabSize);
  if (foreign !== undefined) {
    return `token id ${foreign} is not in the vocabulary: ids go from 0 to ${vocabSize - 1}`;
  }
  if (!(logprobs >= 0 && logprobs <= NUM_BEST)) {
    return `log-probabilities of ${logprobs} best tokens are asked for, 0 to ${NUM_BEST} can be`;
  }
  if (!(repetitionPenalty > 0)) return `the repetition penalty is ${repetitionPenalty}, it must be above 0`;
  const added = [presencePenalty, frequencyPenalty, repetitionPenalty, ...logitBias.map(([, bias]) => bias)];
  const wild = [...added, dry?.multiplier ?? 0, dry?.base ?? 0].find((value) => !Number.isFinite(value));
  return wild === undefined ? undefined : `penalties and biases must be numbers, one is ${wild}`;
}
