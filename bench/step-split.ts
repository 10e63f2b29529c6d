import type { StepStats } from "../engine/client.ts";
import { createEngine } from "../engine/create.ts";
import type { EngineOptions } from "../engine/engine-options.ts";
import { GREEDY } from "../engine/sampling-params.ts";
import { generate, sum, warmUpEngine } from "./generate.ts";

/** Mean milliseconds of a decode step's parts. forward, sample and readback are the verify pass. */
export interface StepSplit {
  readonly draftMs: number;
  readonly forwardMs: number;
  readonly sampleMs: number;
  readonly readbackMs: number;
  readonly commitMs: number;
  readonly stepMs: number;
}

/** One prompt on an engine that measures: that costs time, so that other figures need engines that do not. */
export async function measureSplit(
  options: EngineOptions,
  prompt: readonly number[],
  maxTokens: number,
): Promise<StepSplit> {
  const { client } = await createEngine({ ...options, profile: true });
  await warmUpEngine(client, prompt);
  const steps: StepStats[] = [];
  client.onStep((stats) => steps.push(stats));
  await generate(client, prompt, { ...GREEDY, maxTokens });
  await client.close();
  return meanSplit(steps.filter(({ numPrefillTokens }) => numPrefillTokens === 0));
}

function meanSplit(steps: readonly StepStats[]): StepSplit {
  const mean = (pick: (stats: StepStats) => number) => sum(steps, pick) / Math.max(1, steps.length);
  return {
    draftMs: mean(({ draftMs }) => draftMs),
    forwardMs: mean(({ pass, verifyMs }) => pass?.forwardMs ?? verifyMs),
    sampleMs: mean(({ pass }) => pass?.sampleMs ?? 0),
    readbackMs: mean(({ pass }) => pass?.overheadMs ?? 0),
    commitMs: mean(({ commitMs }) => commitMs),
    stepMs: mean(({ stepMs }) => stepMs),
  };
}
