import type { EngineClient, EngineInfo, StepStats } from "../engine/client.ts";
import { createEngine } from "../engine/create.ts";
import type { EngineOptions } from "../engine/engine-options.ts";
import type { SamplingParams } from "../engine/sampling-params.ts";
import { generate, sum, warmUpEngine } from "./generate.ts";
import { type Interval, median, medianInterval } from "./median.ts";

/** One way to run an engine, under load beside others. */
export interface Contender {
  readonly name: string;
  readonly options: Partial<EngineOptions>;
}

export interface Turns {
  /** Turns of each contender that count, and those before them in which it gets used to the load. */
  readonly numRounds: number;
  readonly numWarmUps: number;
  readonly turnMs: number;
}

export interface Load {
  readonly numStreams: readonly number[];
  /** By what an engine runs on. */
  readonly turns: (adapterKind: EngineInfo["adapterKind"]) => Turns;
  readonly prompts: readonly (readonly number[])[];
  readonly params: SamplingParams;
}

export interface LoadFigures {
  readonly contender: string;
  readonly numStreams: number;
  /** Of all streams together, prompts included; the median of the rounds. */
  readonly tokensPerSecond: number;
  /** The last contender's rate over this one's in the same round; the median of the rounds, and where it lies by 95 %. */
  readonly lastOverThis: number;
  readonly lastOverThisInterval: Interval;
  /** Tokens that a sequence emits in a step. */
  readonly acceptanceLength: number;
  /** Share of a sequence's steps that verified a draft. */
  readonly draftedShare: number;
}

export interface LoadReport {
  readonly info: EngineInfo;
  readonly figures: readonly LoadFigures[];
}

/** What the streams of one turn gave. */
interface Turn {
  readonly tokensPerSecond: number;
  readonly numTokens: number;
  readonly numSteps: number;
  readonly numDrafted: number;
}

/**
 * So many streams at once, each of which takes the next prompt when its text has ended: every contender in turn, round by round.
 * Rates are compared within a round only, since the machine is not as fast in the next.
 */
export async function measureLoad(
  options: EngineOptions,
  contenders: readonly Contender[],
  load: Load,
): Promise<LoadReport> {
  const clients: EngineClient[] = [];
  for (const { options: own } of contenders) clients.push((await createEngine({ ...options, ...own })).client);
  const [first] = clients;
  if (first === undefined) throw new RangeError("nothing to measure");
  for (const client of clients) await warmUpEngine(client, load.prompts[0] ?? [0]);
  const { numRounds, numWarmUps, turnMs } = load.turns(first.info.adapterKind);
  const figures: LoadFigures[] = [];
  for (const numStreams of load.numStreams) {
    const rounds: Turn[][] = [];
    for (let round = -numWarmUps; round < numRounds; round++) {
      const turns: Turn[] = [];
      for (const i of inTurn(clients.length, round + numWarmUps)) {
        const client = clients[i];
        if (client) turns[i] = await runTurn(client, { ...load, numStreams, turnMs, round: round + numWarmUps });
      }
      if (round >= 0) rounds.push(turns);
    }
    for (const [i, { name }] of contenders.entries()) figures.push(toFigures(name, numStreams, rounds, i));
  }
  for (const client of clients) await client.close();
  return { info: first.info, figures };
}

/** Places 0…n - 1, beginning with another one each time, and backwards every other time: nobody always comes after the same one. */
function inTurn(numPlaces: number, round: number): number[] {
  const places = Array.from({ length: numPlaces }, (_, i) => (i + round) % numPlaces);
  return round % 2 === 0 ? places : places.reverse();
}

let numRequests = 0;

/** Runs all streams for the time of a turn, then stops them where they are, and waits for the device. */
async function runTurn(
  client: EngineClient,
  load: Pick<Load, "prompts" | "params"> & {
    readonly numStreams: number;
    readonly turnMs: number;
    readonly round: number;
  },
): Promise<Turn> {
  const { prompts, params, numStreams, turnMs, round } = load;
  let [numTokens, numSteps, numDrafted, next] = [0, 0, 0, round * numStreams];
  const stopListening = client.onStep(({ sequences }: StepStats) => {
    numSteps += sequences.length;
    numDrafted += sequences.filter(({ numDraft }) => numDraft > 0).length;
  });
  const startMs = performance.now();
  const isOver = () => performance.now() - startMs >= turnMs;
  const stream = async () => {
    while (!isOver()) {
      const promptTokenIds = prompts[next++ % prompts.length] ?? [0];
      const request = { id: `load-${numRequests++}`, choice: 0, promptTokenIds, params };
      for await (const { tokenIds, finishReason, error } of client.generate(request)) {
        if (finishReason === "error") throw new Error(error ?? "the engine failed");
        numTokens += tokenIds.length;
        if (isOver()) break;
      }
    }
  };
  await Promise.all(Array.from({ length: numStreams }, stream));
  const seconds = (performance.now() - startMs) / 1000;
  stopListening();
  // What is still in flight would be the next one's loss: a token comes after it.
  await generate(client, prompts[0] ?? [0], { ...params, maxTokens: 1 });
  return { tokensPerSecond: numTokens / seconds, numTokens, numSteps, numDrafted };
}

function toFigures(contender: string, numStreams: number, rounds: readonly Turn[][], place: number): LoadFigures {
  const turns = rounds.flatMap((round) => round[place] ?? []);
  const numSteps = sum(turns, (turn) => turn.numSteps);
  const ratios = rounds.map((round) => (round.at(-1)?.tokensPerSecond ?? 0) / (round[place]?.tokensPerSecond ?? 1));
  return {
    ...{ contender, numStreams },
    tokensPerSecond: median(turns.map(({ tokensPerSecond }) => tokensPerSecond)),
    lastOverThis: median(ratios),
    lastOverThisInterval: medianInterval(ratios),
    acceptanceLength: sum(turns, ({ numTokens }) => numTokens) / numSteps,
    draftedShare: sum(turns, ({ numDrafted }) => numDrafted) / numSteps,
  };
}
