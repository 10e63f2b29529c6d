import type { EngineClient, EngineInfo } from "../engine/client.ts";
import { createEngine } from "../engine/create.ts";
import type { DrafterChoice, EngineOptions } from "../engine/engine-options.ts";
import type { SamplingParams } from "../engine/sampling-params.ts";
import { decodeRate, generate, measurePrefill, type Run, sum, warmUpEngine } from "./generate.ts";

export interface DrafterFigures {
  readonly drafter: string;
  readonly tokensPerSecond: number;
  /** Against the first drafter of the run, over the same prompts in the same minutes. */
  readonly speedup: number;
  /** Tokens a step. */
  readonly acceptanceLength: number;
  readonly acceptedShare: number;
}

export interface SpeculationFigures {
  readonly info: EngineInfo;
  readonly promptTokensPerSecond: number;
  /** For each of the sampling parameters, in order. */
  readonly drafters: readonly (readonly DrafterFigures[])[];
}

interface Contender {
  readonly client: EngineClient;
  /** For each of the sampling parameters, in order. */
  readonly runs: readonly Run[][];
}

const PREFILL_TOKENS = 512;

/** One stream; the drafters take turns prompt by prompt, so that a noisy machine is noisy for all of them. */
export async function compareDrafters(
  options: EngineOptions,
  drafters: readonly DrafterChoice[],
  prompts: readonly (readonly number[])[],
  sampling: readonly SamplingParams[],
): Promise<SpeculationFigures> {
  const contenders: Contender[] = [];
  for (const drafter of drafters) {
    const { client } = await createEngine({ ...options, drafter, prefixCache: false });
    contenders.push({ client, runs: sampling.map(() => []) });
  }
  const [plain] = contenders;
  if (plain === undefined) throw new RangeError("nothing to measure");
  for (const { client } of contenders) await warmUpEngine(client, prompts[0] ?? [0]);
  const { tokensPerSecond } = await measurePrefill(plain.client, prompts.flat(), PREFILL_TOKENS);
  for (const [i, params] of sampling.entries()) {
    for (const prompt of prompts) {
      for (const { client, runs } of contenders) runs[i]?.push(await generate(client, prompt, params));
    }
  }
  for (const { client } of contenders) await client.close();
  return {
    info: plain.client.info,
    promptTokensPerSecond: tokensPerSecond,
    drafters: sampling.map((_, i) => {
      const plainRate = decodeRate(plain.runs[i] ?? []);
      return contenders.map(({ client, runs }) => toFigures(client.info.drafter, runs[i] ?? [], plainRate));
    }),
  };
}

function toFigures(drafter: string, runs: readonly Run[], plainRate: number): DrafterFigures {
  const numDraft = sum(runs, (run) => run.numDraft);
  const numAccepted = sum(runs, (run) => run.numAccepted);
  return {
    drafter,
    tokensPerSecond: decodeRate(runs),
    speedup: decodeRate(runs) / plainRate,
    acceptanceLength: sum(runs, ({ numDecoded }) => numDecoded) / sum(runs, ({ numSteps }) => numSteps),
    acceptedShare: numAccepted / Math.max(1, numDraft),
  };
}
