import type { EngineClient, EngineInfo, StepStats } from "../engine/client.ts";
import type { EngineOptions } from "../engine/engine-options.ts";
import type { SamplingParams } from "../engine/sampling-params.ts";
import type { ExpectedRates } from "../engine/speculative/budget/tree-policy.ts";
import { generate, sum, warmUpEngine } from "./generate.ts";
import { type Interval, median, medianInterval } from "./median.ts";
import { SharedTarget } from "./shared-target.ts";
import { countStep, noSteps, type TotalsByKind, totalsOf } from "./step-kinds.ts";
import { turnOrder } from "./turn-order.ts";

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
  /** The same of every round. */
  readonly rates: readonly number[];
  /** The last contender's rate over this one's in the same round; the median of the rounds, and where it lies by 95 %. */
  readonly lastOverThis: number;
  readonly lastOverThisInterval: Interval;
  /** Tokens that a sequence emits in a step. */
  readonly acceptanceLength: number;
  /** Share of a sequence's steps that verified a draft. */
  readonly draftedShare: number;
  /** Where the time went. */
  readonly steps: TotalsByKind;
  /** What the adaptive budget compared at the end. */
  readonly expected: ExpectedRates | undefined;
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
  readonly steps: TotalsByKind;
  readonly expected: ExpectedRates | undefined;
}

/**
 * So many streams at once, each of which takes the next prompt when its text has ended: every contender in turn, round by round.
 * Rates are compared within a round only, since the machine is not as fast in the next. All run over the same weights.
 */
export async function measureLoad(
  { model, adapter, maxModelLen, ...options }: EngineOptions & Required<Pick<EngineOptions, "maxModelLen">>,
  contenders: readonly Contender[],
  load: Load,
): Promise<LoadReport> {
  const target = await SharedTarget.open(model, maxModelLen, adapter);
  const clients: EngineClient[] = [];
  for (const { options: own } of contenders) clients.push(await target.createEngine({ ...options, ...own }));
  const [first] = clients;
  if (first === undefined) throw new RangeError("nothing to measure");
  for (const client of clients) await warmUpEngine(client, load.prompts[0] ?? [0]);
  const { numRounds, numWarmUps, turnMs } = load.turns(first.info.adapterKind);
  const figures: LoadFigures[] = [];
  for (const numStreams of load.numStreams) {
    const rounds: Turn[][] = [];
    for (let round = -numWarmUps; round < numRounds; round++) {
      const turns: Turn[] = [];
      for (const i of turnOrder(clients.length, round + numWarmUps)) {
        const client = clients[i];
        if (client) turns[i] = await runTurn(client, { ...load, numStreams, turnMs, round: round + numWarmUps });
      }
      if (round >= 0) rounds.push(turns);
    }
    for (const [i, { name }] of contenders.entries()) figures.push(toFigures(name, numStreams, rounds, i));
  }
  for (const client of clients) await client.close();
  target.close();
  return { info: first.info, figures };
}

/** Far from the one before, and prime: lengths of texts that follow each other say nothing of each other. */
const LENGTH_STRIDE = 7919;

/**
 * Tokens of the nth text, half of the most to all of them, each length as often as another. Texts of one length that begin together end
 * together while nothing is drafted, so that prompts are computed all at once: no server has such streams.
 */
export function textLength(text: number, maxTokens: number): number {
  const least = Math.ceil(maxTokens / 2);
  return least + ((text * LENGTH_STRIDE) % (maxTokens - least + 1));
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
  const steps = noSteps();
  let expected: ExpectedRates | undefined;
  const stopListening = client.onStep((step: StepStats) => {
    const { sequences, speculation } = step;
    countStep(steps, step);
    expected = speculation?.expected;
    numSteps += sequences.length;
    numDrafted += sequences.filter(({ numDraft }) => numDraft > 0).length;
  });
  const startMs = performance.now();
  const isOver = () => performance.now() - startMs >= turnMs;
  const stream = async () => {
    while (!isOver()) {
      const text = next++;
      const promptTokenIds = prompts[text % prompts.length] ?? [0];
      const ownParams = { ...params, maxTokens: textLength(text, params.maxTokens) };
      const request = { id: `load-${numRequests++}`, choice: 0, promptTokenIds, params: ownParams };
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
  return { tokensPerSecond: numTokens / seconds, numTokens, numSteps, numDrafted, steps, expected };
}

function toFigures(contender: string, numStreams: number, rounds: readonly Turn[][], place: number): LoadFigures {
  const turns = rounds.flatMap((round) => round[place] ?? []);
  const numSteps = sum(turns, (turn) => turn.numSteps);
  const rates = turns.map(({ tokensPerSecond }) => tokensPerSecond);
  const ratios = rounds.map((round) => (round.at(-1)?.tokensPerSecond ?? 0) / (round[place]?.tokensPerSecond ?? 1));
  return {
    ...{ contender, numStreams, rates },
    tokensPerSecond: median(rates),
    lastOverThis: median(ratios),
    lastOverThisInterval: medianInterval(ratios),
    acceptanceLength: sum(turns, ({ numTokens }) => numTokens) / numSteps,
    draftedShare: sum(turns, ({ numDrafted }) => numDrafted) / numSteps,
    steps: totalsOf(turns.map(({ steps }) => steps)),
    expected: turns.at(-1)?.expected,
  };
}
