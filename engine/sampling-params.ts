/** How one sequence is sampled and when it ends. Plain data: it crosses the process boundary as it is. */
export interface SamplingParams {
  /** 0 is greedy: the arg-max of the raw logits. */
  readonly temperature: number;
  /** Nucleus mass in (0, 1]; 1 is off. */
  readonly topP: number;
  /** Number of best tokens kept; 0 is off. */
  readonly topK: number;
  /** Tokens below `minP` times the best probability are dropped; 0 is off. */
  readonly minP: number;
  /** 64-bit seed, as two u32 words (low, high): the draw at a position is a function of (seed, choice, position). */
  readonly seed: readonly [low: number, high: number];
  /** Most tokens to generate, at least 1. */
  readonly maxTokens: number;
  /** Ids that end the sequence; the ending id itself is emitted last. */
  readonly stopTokenIds: readonly number[];
}

export const GREEDY: SamplingParams = {
  temperature: 0,
  topP: 1,
  topK: 0,
  minP: 0,
  seed: [0, 0],
  maxTokens: 128,
  stopTokenIds: [],
};
