import type { EngineClient, EngineOutput } from "../engine/client.ts";
import type { SamplingParams } from "../engine/sampling-params.ts";

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
