import type { EngineClient, EngineOutput, FinishReason } from "../../engine/client.ts";
import type { SamplingParams } from "../../engine/sampling-params.ts";

/** All that one sequence gave. */
export interface Generated {
  readonly tokenIds: readonly number[];
  readonly outputs: readonly EngineOutput[];
  readonly finishReason: FinishReason;
  readonly numDraft: number;
  readonly numAccepted: number;
}

let numRequests = 0;

/** Generates one sequence to its end. */
export async function generate(
  client: EngineClient,
  promptTokenIds: readonly number[],
  params: SamplingParams,
  choice = 0,
): Promise<Generated> {
  const outputs: EngineOutput[] = [];
  const request = { id: `test-${numRequests++}`, choice, promptTokenIds, params };
  for await (const output of client.generate(request)) outputs.push(output);
  const last = outputs.at(-1);
  if (last?.finishReason === undefined) throw new Error(`${request.id} ended without a finish reason`);
  if (last.finishReason === "error") throw new Error(last.error);
  const sum = (pick: (output: EngineOutput) => number) => outputs.reduce((total, output) => total + pick(output), 0);
  return {
    tokenIds: outputs.flatMap(({ tokenIds }) => tokenIds),
    outputs,
    finishReason: last.finishReason,
    numDraft: sum(({ numDraft }) => numDraft),
    numAccepted: sum(({ numAccepted }) => numAccepted),
  };
}
