import type { EngineInfo } from "../engine/client.ts";
import type { Engine } from "../engine/engine.ts";
import type { EngineOptions } from "../engine/engine-options.ts";
import type { ExpectedRates } from "../engine/speculative/budget/tree-policy.ts";
import { sum, warmUpEngine } from "./generate.ts";
import { type Interval, median, medianInterval } from "./median.ts";
import { SharedTarget } from "./shared-target.ts";
import { type TotalsByKind, totalsOf } from "./step-kinds.ts";
import { Streams, type StreamsOptions, type Turn } from "./streams.ts";
import { turnOrder } from "./turn-order.ts";

/** One way to run an engine, under load beside others. */
export interface Contender {
  readonly name: string;
  readonly options: Partial<EngineOptions>;
}

export interface Turns {
  /** In which the last contender, alone, gets used to a load. */
  readonly warmUpMs: number;
  /** Rounds that count, and those before them. */
  readonly numRounds: number;
  readonly numWarmUps: number;
  /** Turns of each contender in a round. */
  readonly numTurns: number;
  /** About what a turn takes the first contender. */
  readonly turnMs: number;
}

export interface Load extends Omit<StreamsOptions, "numStreams"> {
  readonly numStreams: readonly number[];
  /** By what an engine runs on. */
  readonly turns: (adapterKind: EngineInfo["adapterKind"]) => Turns;
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
  /** The same of all rounds' tokens and times. */
  readonly lastOverThisInAll: number;
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

/**
 * Every contender in turn, by short turns that go on with the same texts: the machine may be half as fast a second later, and within a round
 * all of them have about the same of that. Rates are compared within a round only. All run over the same weights.
 */
export async function measureLoad(
  { model, adapter, maxModelLen, ...options }: EngineOptions & Required<Pick<EngineOptions, "maxModelLen">>,
  contenders: readonly Contender[],
  load: Load,
): Promise<LoadReport> {
  const target = await SharedTarget.open(model, maxModelLen, adapter);
  const engines: Engine[] = [];
  for (const { options: own } of contenders) engines.push(await target.createEngine({ ...options, ...own }));
  const [first] = engines;
  if (first === undefined) throw new RangeError("nothing to measure");
  for (const engine of engines) await warmUpEngine(engine, load.prompts[0] ?? [0]);
  const turns = load.turns(first.info.adapterKind);
  const figures: LoadFigures[] = [];
  for (const numStreams of load.numStreams) {
    const rounds = await runRounds(engines, { ...load, numStreams }, turns);
    for (const [i, { name }] of contenders.entries()) figures.push(toFigures(name, numStreams, rounds, i));
  }
  for (const engine of engines) await engine.close();
  target.close();
  return { info: first.info, figures };
}

/** Of a stream in a round, at least: some steps even of large trees, where one takes longer than a turn. */
const LEAST_ROUND_TOKENS = 8;

/**
 * Only before the rounds a turn takes time. In rounds it takes tokens, as many for each engine as the first one has in that time: so all
 * compute the same texts, and none is ahead because its texts were easier, or more of them began.
 * @returns what each engine had in each round that counts
 */
async function runRounds(
  engines: readonly Engine[],
  options: StreamsOptions,
  { warmUpMs, numRounds, numWarmUps, numTurns, turnMs }: Turns,
): Promise<Turn[][]> {
  const last = engines.at(-1);
  const alone = last && (await Streams.open(last, options));
  await alone?.turn({ ms: warmUpMs });
  await alone?.close();
  const all: Streams[] = [];
  for (const engine of engines) all.push(await Streams.open(engine, options));
  const roundMs = { ms: numTurns * turnMs };
  for (const streams of all) await streams.turn(roundMs);
  const seen = await all[0]?.turn(roundMs);
  const turnTokens = Math.max(seen?.numTokens ?? 0, LEAST_ROUND_TOKENS * options.numStreams) / numTurns;
  let numTokens = Math.max(...all.map((streams) => streams.numTokens));
  const rounds: Turn[][] = [];
  for (let round = 0; round < numWarmUps + numRounds; round++) {
    const turns: Turn[][] = engines.map(() => []);
    for (let turn = 0; turn < numTurns; turn++) {
      numTokens += turnTokens;
      for (const i of turnOrder(engines.length, round * numTurns + turn)) {
        const had = await all[i]?.turn({ numTokens });
        if (had) turns[i]?.push(had);
      }
    }
    if (round >= numWarmUps) rounds.push(turns.map(together));
  }
  for (const streams of all) await streams.close();
  return rounds;
}

function together(turns: readonly Turn[]): Turn {
  return {
    ms: sum(turns, ({ ms }) => ms),
    numTokens: sum(turns, ({ numTokens }) => numTokens),
    numSteps: sum(turns, ({ numSteps }) => numSteps),
    numDrafted: sum(turns, ({ numDrafted }) => numDrafted),
    steps: totalsOf(turns.map(({ steps }) => steps)),
    expected: turns.findLast(({ expected }) => expected !== undefined)?.expected,
  };
}

function toFigures(contender: string, numStreams: number, rounds: readonly Turn[][], place: number): LoadFigures {
  const ofThis = together(rounds.flatMap((round) => round[place] ?? []));
  const ofLast = together(rounds.flatMap((round) => round.at(-1) ?? []));
  const rates = rounds.map((round) => rateOf(round[place]));
  const ratios = rounds.map((round) => rateOf(round.at(-1)) / rateOf(round[place]));
  const { numSteps, numTokens, numDrafted, steps, expected } = ofThis;
  return {
    ...{ contender, numStreams, rates },
    tokensPerSecond: median(rates),
    lastOverThis: median(ratios),
    lastOverThisInterval: medianInterval(ratios),
    lastOverThisInAll: rateOf(ofLast) / rateOf(ofThis),
    acceptanceLength: numTokens / numSteps,
    draftedShare: numDrafted / numSteps,
    ...{ steps, expected },
  };
}

/** In tokens/s. */
function rateOf(turn: Turn | undefined): number {
  return turn ? (1000 * turn.numTokens) / turn.ms : 0;
}
