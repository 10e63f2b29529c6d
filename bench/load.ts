import type { EngineClient, EngineInfo, StepStats } from "../engine/client.ts";
import { createEngine } from "../engine/create.ts";
import type { EngineOptions } from "../engine/engine-options.ts";
import type { SamplingParams } from "../engine/sampling-params.ts";
import { generate, sum, warmUpEngine } from "./generate.ts";
import { median } from "./median.ts";

/** One way to run an engine, under load beside others. */
export interface Contender {
  readonly name: string;
  readonly options: Partial<EngineOptions>;
  /** Neither plain nor adaptive: one of those that the adaptive one is measured against. */
  readonly isFixed: boolean;
}

export interface LoadFigures {
  readonly contender: string;
  readonly numStreams: number;
  /** Of all streams together, prompts included; the median of the rounds. */
  readonly tokensPerSecond: number;
  /** Tokens that a sequence emits in a step. */
  readonly acceptanceLength: number;
  /** Share of a sequence's steps that verified a draft. */
  readonly draftedShare: number;
}

export interface LoadReport {
  readonly info: EngineInfo;
  readonly figures: readonly LoadFigures[];
}

/** What one round of streams gave. */
interface Round {
  readonly tokensPerSecond: number;
  readonly numTokens: number;
  readonly numSteps: number;
  readonly numDrafted: number;
}

/**
 * So many streams at once, each with a prompt of its own: every contender in turn, round by round, so that a noisy machine is
 * noisy for all of them.
 */
export async function measureLoad(
  options: EngineOptions,
  contenders: readonly Contender[],
  load: {
    readonly numStreams: readonly number[];
    readonly numRounds: number;
    readonly prompts: readonly (readonly number[])[];
    readonly params: SamplingParams;
  },
): Promise<LoadReport> {
  const clients: EngineClient[] = [];
  for (const { options: own } of contenders) clients.push((await createEngine({ ...options, ...own })).client);
  const [first] = clients;
  if (first === undefined) throw new RangeError("nothing to measure");
  for (const client of clients) await warmUpEngine(client, load.prompts[0] ?? [0]);
  const figures: LoadFigures[] = [];
  for (const numStreams of load.numStreams) {
    const rounds = contenders.map((): Round[] => []);
    for (let round = 0; round <= load.numRounds; round++) {
      for (const [i, client] of clients.entries()) {
        const one = await runRound(client, numStreams, round, load);
        // The first round lets every contender get used to the load.
        if (round > 0) rounds[i]?.push(one);
      }
    }
    for (const [i, { name }] of contenders.entries()) figures.push(toFigures(name, numStreams, rounds[i] ?? []));
  }
  for (const client of clients) await client.close();
  return { info: first.info, figures };
}

async function runRound(
  client: EngineClient,
  numStreams: number,
  round: number,
  { prompts, params }: { readonly prompts: readonly (readonly number[])[]; readonly params: SamplingParams },
): Promise<Round> {
  let [numSteps, numDrafted] = [0, 0];
  const stop = client.onStep(({ sequences }: StepStats) => {
    numSteps += sequences.length;
    numDrafted += sequences.filter(({ numDraft }) => numDraft > 0).length;
  });
  const startMs = performance.now();
  const runs = await Promise.all(
    Array.from({ length: numStreams }, (_, i) => {
      const prompt = prompts[(i + round * numStreams) % prompts.length] ?? [0];
      return generate(client, prompt, { ...params, seed: [round, i] });
    }),
  );
  const seconds = (performance.now() - startMs) / 1000;
  stop();
  const numTokens = sum(runs, ({ tokenIds }) => tokenIds.length);
  return { tokensPerSecond: numTokens / seconds, numTokens, numSteps, numDrafted };
}

function toFigures(contender: string, numStreams: number, rounds: readonly Round[]): LoadFigures {
  const numSteps = sum(rounds, (round) => round.numSteps);
  return {
    ...{ contender, numStreams },
    tokensPerSecond: median(rounds.map(({ tokensPerSecond }) => tokensPerSecond)),
    acceptanceLength: sum(rounds, ({ numTokens }) => numTokens) / numSteps,
    draftedShare: sum(rounds, ({ numDrafted }) => numDrafted) / numSteps,
  };
}
