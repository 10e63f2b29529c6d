import type { DrafterFigures, EngineClient } from "../client.ts";
import { GREEDY } from "../sampling-params.ts";

/** What is decoded to measure, and for how long. */
export interface DecodingTrial {
  /** Token ids; decoded one after the other. */
  readonly prompts: readonly (readonly number[])[];
  readonly endTokenIds: readonly number[];
  /** Tokens of each answer at most. */
  readonly maxTokens: number;
  /** Decode for so long before anything counts, so that kernels are compiled and a GPU has its clocks. */
  readonly warmUpMs: number;
  /** Then stop after so many steps, or after this time, even where prompts are left. */
  readonly maxSteps: number;
  readonly limitMs: number;
}

/** Tokens of an answer that warms up. */
const WARM_UP_TOKENS = 4;
/** What a step takes is what this share of the steps take at most: other work makes the rest slower, and another drafter's less so. */
const FAST_SHARE = 0.25;

/**
 * Decodes some prompts greedily, one stream, and says how fast its faster steps were, without the time to each answer's first tokens.
 * @param now milliseconds of any clock that only goes forward
 * @returns undefined where nothing was decoded, as where every answer ends at once
 * @throws Error where the engine fails
 */
export async function measureDecoding(
  client: EngineClient,
  { prompts, endTokenIds, maxTokens, warmUpMs, maxSteps, limitMs }: DecodingTrial,
  now: () => number,
): Promise<Omit<DrafterFigures, "drafter"> | undefined> {
  let [numTokens, numRequests] = [0, 0];
  const stepsMs: number[] = [];
  let end = Number.POSITIVE_INFINITY;
  const hasEnded = () => stepsMs.length >= maxSteps || now() >= end;
  const decode = async (promptTokenIds: readonly number[], numWanted: number) => {
    const params = { ...GREEDY, maxTokens: numWanted, stopTokenIds: endTokenIds };
    let lastMs: number | undefined;
    for await (const output of client.generate({ id: `trial-${numRequests++}`, choice: 0, promptTokenIds, params })) {
      if (output.finishReason === "error") throw new Error(output.error ?? "the engine failed");
      const ms = now();
      if (lastMs !== undefined && output.tokenIds.length > 0) {
        numTokens += output.tokenIds.length;
        stepsMs.push(ms - lastMs);
      }
      lastMs = ms;
      if (hasEnded()) return;
    }
  };
  const [first = []] = prompts;
  const warm = now() + warmUpMs;
  do {
    await decode(first, WARM_UP_TOKENS);
    numTokens = 0;
    stepsMs.length = 0;
  } while (now() < warm);
  end = now() + limitMs;
  for (const prompt of prompts) if (!hasEnded()) await decode(prompt, maxTokens);
  const stepMs = stepsMs.sort((a, b) => a - b)[Math.floor(FAST_SHARE * stepsMs.length)] ?? 0;
  if (stepMs <= 0) return undefined;
  const acceptanceLength = numTokens / stepsMs.length;
  return { tokensPerSecond: (1000 * acceptanceLength) / stepMs, acceptanceLength };
}
