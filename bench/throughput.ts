import type { EngineClient, EngineInfo, StepStats } from "../engine/client.ts";
import { createEngine } from "../engine/create.ts";
import type { DrafterKind, EngineOptions } from "../engine/engine-options.ts";
import { GREEDY } from "../engine/sampling-params.ts";
import { generate, type Run, sum } from "./generate.ts";

/** Mean milliseconds of a decode step's parts. forward, sample and readback are the verify pass. */
export interface StepSplit {
  readonly draftMs: number;
  readonly forwardMs: number;
  readonly sampleMs: number;
  readonly readbackMs: number;
  readonly commitMs: number;
  readonly stepMs: number;
}

export interface DrafterFigures {
  readonly drafter: string;
  readonly tokensPerSecond: number;
  /** Against the first drafter of the run, over the same prompts in the same minutes. */
  readonly speedup: number;
  /** Tokens a step. */
  readonly acceptanceLength: number;
  readonly acceptedShare: number;
  readonly split: StepSplit;
}

export interface ThroughputFigures {
  readonly promptTokensPerSecond: number;
  readonly drafters: readonly DrafterFigures[];
}

interface Contender {
  readonly drafter: DrafterKind;
  readonly client: EngineClient;
  readonly runs: Run[];
}

const PREFILL_TOKENS = 512;

/** One stream, greedy; the drafters take turns prompt by prompt, so that a noisy machine is noisy for all of them. */
export async function measureThroughput(
  options: EngineOptions,
  drafters: readonly DrafterKind[],
  prompts: readonly (readonly number[])[],
  maxTokens: number,
): Promise<{ readonly info: EngineInfo; readonly throughput: ThroughputFigures }> {
  const contenders: Contender[] = [];
  for (const drafter of drafters) {
    const { client } = await createEngine({ ...options, drafter });
    contenders.push({ drafter, client, runs: [] });
  }
  const [plain] = contenders;
  if (plain === undefined) throw new RangeError("nothing to measure");
  const promptTokensPerSecond = await measurePrefill(plain.client, prompts);
  for (const { client } of contenders) await generate(client, prompts[0] ?? [0], { ...GREEDY, maxTokens: 16 });
  for (const prompt of prompts) {
    for (const { client, runs } of contenders) runs.push(await generate(client, prompt, { ...GREEDY, maxTokens }));
  }
  const plainRate = rate(plain);
  for (const { client } of contenders) await client.close();
  const figures: DrafterFigures[] = [];
  for (const contender of contenders) {
    const split = await measureSplit({ ...options, drafter: contender.drafter }, prompts[0] ?? [0], maxTokens);
    figures.push({ ...toFigures(contender, plainRate), split });
  }
  return { info: plain.client.info, throughput: { promptTokensPerSecond, drafters: figures } };
}

/** One prompt again, on an engine that measures: that costs time, so that the others do not. */
async function measureSplit(options: EngineOptions, prompt: readonly number[], maxTokens: number): Promise<StepSplit> {
  const { client } = await createEngine({ ...options, profile: true });
  await generate(client, prompt, { ...GREEDY, maxTokens: 16 });
  const steps: StepStats[] = [];
  client.onStep((stats) => steps.push(stats));
  await generate(client, prompt, { ...GREEDY, maxTokens });
  await client.close();
  return meanSplit(steps.filter(({ numPrefillTokens }) => numPrefillTokens === 0));
}

/** Best of three, of a prompt pieced together from the others. */
async function measurePrefill(client: EngineClient, prompts: readonly (readonly number[])[]): Promise<number> {
  const numTokens = Math.min(PREFILL_TOKENS, client.info.maxModelLen - 1);
  const text = prompts.flat();
  const prompt = Array.from({ length: numTokens }, (_, i) => text[i % text.length] ?? 0);
  let best = 0;
  for (let i = 0; i < 3; i++) {
    const { firstMs } = await generate(client, prompt, { ...GREEDY, maxTokens: 1 });
    best = Math.max(best, (1000 * numTokens) / firstMs);
  }
  return best;
}

function rate({ runs }: Contender): number {
  return (1000 * sum(runs, ({ numDecoded }) => numDecoded)) / sum(runs, ({ decodeMs }) => decodeMs);
}

function toFigures(contender: Contender, plainRate: number): Omit<DrafterFigures, "split"> {
  const { client, runs } = contender;
  const numSteps = sum(runs, (run) => run.numSteps);
  return {
    drafter: client.info.drafter,
    tokensPerSecond: rate(contender),
    speedup: rate(contender) / plainRate,
    acceptanceLength: sum(runs, ({ numDecoded }) => numDecoded) / numSteps,
    acceptedShare:
      sum(runs, ({ numAccepted }) => numAccepted) /
      Math.max(
        1,
        sum(runs, ({ numDraft }) => numDraft),
      ),
  };
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
