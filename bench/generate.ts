import type { EngineClient, EngineOutput } from "../engine/client.ts";
import { GREEDY, type SamplingParams } from "../engine/sampling-params.ts";

/** What one sequence gave, and when. */
export interface Run {
  readonly tokenIds: readonly number[];
  /** From the call to the first tokens. */
  readonly firstMs: number;
  /** From the first tokens to the last. */
  readonly decodeMs: number;
  /** Tokens after those that came first. */
  readonly numDecoded: number;
  /** Steps that gave tokens, after the first. */
  readonly numSteps: number;
  readonly numDraft: number;
  readonly numAccepted: number;
}

let numRequests = 0;

export async function generate(
  client: EngineClient,
  promptTokenIds: readonly number[],
  params: SamplingParams,
): Promise<Run> {
  const startMs = performance.now();
  const outputs: EngineOutput[] = [];
  let firstMs = 0;
  for await (const output of client.generate({ id: `bench-${numRequests++}`, choice: 0, promptTokenIds, params })) {
    if (output.finishReason === "error") throw new Error(output.error ?? "the engine failed");
    if (outputs.length === 0) firstMs = performance.now() - startMs;
    outputs.push(output);
  }
  const later = outputs.slice(1);
  return {
    tokenIds: outputs.flatMap(({ tokenIds }) => tokenIds),
    firstMs,
    decodeMs: performance.now() - startMs - firstMs,
    numDecoded: sum(later, ({ tokenIds }) => tokenIds.length),
    numSteps: later.length,
    numDraft: sum(outputs, ({ numDraft }) => numDraft),
    numAccepted: sum(outputs, ({ numAccepted }) => numAccepted),
  };
}

export function sum<T>(items: readonly T[], pick: (item: T) => number): number {
  return items.reduce((total, item) => total + pick(item), 0);
}

/** An idle GPU takes this long to reach its clocks, in ms; a software adapter has none. */
const WARM_UP_MS = 1500;

/** Generates until everything is warm: kernels, the compiler of this language, a GPU's clocks. */
export async function warmUpEngine(client: EngineClient, promptTokenIds: readonly number[]): Promise<void> {
  const startMs = performance.now();
  const maxTokens = client.info.adapterKind === "gpu" ? 128 : 8;
  do await generate(client, promptTokenIds, { ...GREEDY, maxTokens });
  while (client.info.adapterKind === "gpu" && performance.now() - startMs < WARM_UP_MS);
}

/** Prompt tokens a second: the best of three prompts of `numTokens`, pieced together from `text`. */
export async function measurePrefill(
  client: EngineClient,
  text: readonly number[],
  numTokens: number,
): Promise<{ readonly numTokens: number; readonly tokensPerSecond: number }> {
  const length = Math.min(numTokens, client.info.maxModelLen - 1);
  const prompt = Array.from({ length }, (_, i) => text[i % text.length] ?? 0);
  let tokensPerSecond = 0;
  for (let i = 0; i < 3; i++) {
    const { firstMs } = await generate(client, prompt, { ...GREEDY, maxTokens: 1 });
    tokensPerSecond = Math.max(tokensPerSecond, (1000 * length) / firstMs);
  }
  return { numTokens: length, tokensPerSecond };
}

/** Tokens a second of several runs, without the time to their first tokens. */
export function decodeRate(runs: readonly Run[]): number {
  return (1000 * sum(runs, ({ numDecoded }) => numDecoded)) / sum(runs, ({ decodeMs }) => decodeMs);
}
