/** What a choice used so far. Times are of performance.now(), in ms. */
export interface ChoiceTally {
  readonly numTokens: number;
  readonly numDraft: number;
  readonly numAccepted: number;
  readonly firstAtMs: number | undefined;
  readonly lastAtMs: number | undefined;
  /** Tokens of the first output: they belong to the prompt's time. */
  readonly numFirst: number;
  /** Of the prompt, in the prefix cache. */
  readonly numCached: number;
}

/** Tokens of all prompts together. */
export interface PromptTally {
  readonly numTokens: number;
  /** Those whose K/V was in the prefix cache. */
  readonly numCached: number;
}

/** OpenAI's `usage`. */
export interface Usage {
  readonly prompt_tokens: number;
  readonly prompt_tokens_details: { readonly cached_tokens: number };
  readonly completion_tokens: number;
  readonly total_tokens: number;
  /** Of a request with a prediction: draft tokens, wherever they were taken from. */
  readonly completion_tokens_details?: {
    readonly accepted_prediction_tokens: number;
    readonly rejected_prediction_tokens: number;
  };
}

/** llama.cpp's `timings`, with what speculation did. */
export interface Timings {
  /** Prompt tokens from the prefix cache; prompt_n are the others. */
  readonly cache_n: number;
  readonly prompt_n: number;
  readonly prompt_ms: number;
  readonly prompt_per_second: number;
  readonly predicted_n: number;
  readonly predicted_ms: number;
  readonly predicted_per_second: number;
  readonly draft_n: number;
  readonly draft_n_accepted: number;
}

export function usageOf(
  prompt: PromptTally & { readonly hasPrediction: boolean },
  tallies: readonly ChoiceTally[],
): Usage {
  const numTokens = sum(tallies, (tally) => tally.numTokens);
  return {
    prompt_tokens: prompt.numTokens,
    prompt_tokens_details: { cached_tokens: prompt.numCached },
    completion_tokens: numTokens,
    total_tokens: prompt.numTokens + numTokens,
    ...(prompt.hasPrediction ? { completion_tokens_details: predictionDetails(tallies) } : {}),
  };
}

function predictionDetails(tallies: readonly ChoiceTally[]) {
  const numAccepted = sum(tallies, (tally) => tally.numAccepted);
  return {
    accepted_prediction_tokens: numAccepted,
    rejected_prediction_tokens: sum(tallies, ({ numDraft }) => numDraft) - numAccepted,
  };
}

/** Of all choices together: prompt until the first output of any, prediction from there to the last output. */
export function timingsOf(prompt: PromptTally, arrivalMs: number, tallies: readonly ChoiceTally[]): Timings {
  const firstAtMs = Math.min(...tallies.map((tally) => tally.firstAtMs ?? arrivalMs));
  const lastAtMs = Math.max(...tallies.map((tally) => tally.lastAtMs ?? arrivalMs));
  const [promptMs, predictedMs] = [firstAtMs - arrivalMs, lastAtMs - firstAtMs];
  const numComputed = prompt.numTokens - prompt.numCached;
  const numPredicted = sum(tallies, ({ numTokens }) => numTokens);
  const numLater = sum(tallies, ({ numTokens, numFirst }) => Math.max(0, numTokens - numFirst));
  return {
    cache_n: prompt.numCached,
    prompt_n: numComputed,
    prompt_ms: rounded(promptMs),
    prompt_per_second: perSecond(numComputed, promptMs),
    predicted_n: numPredicted,
    predicted_ms: rounded(predictedMs),
    predicted_per_second: perSecond(numLater, predictedMs),
    draft_n: sum(tallies, ({ numDraft }) => numDraft),
    draft_n_accepted: sum(tallies, ({ numAccepted }) => numAccepted),
  };
}

function perSecond(count: number, ms: number): number {
  return ms > 0 ? rounded((1000 * count) / ms) : 0;
}

function rounded(value: number): number {
  return Math.round(value * 1000) / 1000;
}

function sum<T>(items: readonly T[], pick: (item: T) => number): number {
  return items.reduce((total, item) => total + pick(item), 0);
}
