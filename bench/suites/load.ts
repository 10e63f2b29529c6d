import { createEngine } from "../../engine/create.ts";
import type { DrafterChoice, EngineOptions } from "../../engine/engine-options.ts";
import { GREEDY } from "../../engine/sampling-params.ts";
import { sum } from "../generate.ts";
import { type Contender, type LoadFigures, measureLoad, type Turns } from "../load.ts";
import { describeMachine } from "../machine.ts";
import { STEP_KINDS, type StepTotals } from "../step-kinds.ts";
import { textLength } from "../streams.ts";
import { defineSuite, positiveInteger, positiveIntegers } from "../suite.ts";
import { table } from "../table.ts";
import { ENGINE_OPTIONS, engineSettings } from "./engine-settings.ts";

/** Bounds of the adaptive budget. */
const ADAPTIVE = { treeNodes: 16, treeDepth: 6, treeBudget: "adaptive" } as const;
const fixed = (treeNodes: number, treeDepth: number) =>
  ({ name: `${treeNodes}x${treeDepth}`, options: { treeNodes, treeDepth, treeBudget: "fixed" } }) as const;
/** Plain decoding, trees of fixed nodes and depths, and the adaptive budget. */
const CONTENDERS: readonly Contender[] = [
  { name: "plain", options: { drafter: "none" } },
  ...[fixed(2, 1), fixed(4, 3), fixed(8, 4), fixed(16, 6)],
  { name: "adaptive", options: ADAPTIVE },
];
/** Streams of one engine at most, and rows of a step for all their trees. */
const MAX_STREAMS = 32;
const TOKEN_BUDGET = 512;
const MAX_MODEL_LEN = 512;

/**
 * Where they are not given, by kind of adapter. Short turns: a machine's gusts last longer than those, so that twice as many of half the
 * length halve what the ratios of rounds differ by. A software adapter has no shorter ones: a step of 32 streams takes some 0.2 s of it.
 */
const TURNS = {
  gpu: { warmUpMs: 15_000, numRounds: 48, numWarmUps: 2, numTurns: 8, turnMs: 25 },
  software: { warmUpMs: 30_000, numRounds: 24, numWarmUps: 2, numTurns: 15, turnMs: 100 },
} as const;

function byDefault(number: keyof Turns): string {
  return `${TURNS.gpu[number]}, software ${TURNS.software[number]}`;
}

export const load = defineSuite(
  "tokens a second of many streams at once: plain, trees of fixed sizes, and adaptive, one drafter",
  {
    ...ENGINE_OPTIONS,
    tokens: { ...ENGINE_OPTIONS.tokens, default: "128" },
    streams: { type: "string", value: "A,B", default: "1,2,4,8,16,32", help: "streams at once, up to 32" },
    rounds: {
      type: "string",
      value: "N",
      help: `rounds that count, their medians are reported; ${byDefault("numRounds")}`,
    },
    "warm-ups": {
      type: "string",
      value: "N",
      help: `rounds at every load before those; ${byDefault("numWarmUps")}`,
    },
    "warm-up-ms": {
      type: "string",
      value: "N",
      help: `at every load before those, of the last contender alone; ${byDefault("warmUpMs")}`,
    },
    turns: { type: "string", value: "N", help: `turns of each in a round; ${byDefault("numTurns")}` },
    "turn-ms": { type: "string", value: "N", help: `of a turn of the first contender; ${byDefault("turnMs")}` },
    contenders: {
      ...{ type: "string", value: "A,B", default: CONTENDERS.map(({ name }) => name).join() },
      help: "who is compared; the last one with all others",
    },
    drafter: { type: "string", value: "NAME", help: "who drafts; what `auto` chooses where it is not given" },
  },
  async (values, print) => {
    const { engine, prompts, drafters, maxTokens } = engineSettings({
      ...values,
      drafters: values.drafter ?? values.drafters,
    });
    const options = { ...engine, maxNumSeqs: MAX_STREAMS, tokenBudget: TOKEN_BUDGET, maxModelLen: MAX_MODEL_LEN };
    const drafter =
      values.drafter === undefined ? await autoChoice({ ...options, ...ADAPTIVE }) : (drafters[0] ?? "auto");
    const contenders = values.contenders.split(",").map((name): Contender => {
      const found = CONTENDERS.find((contender) => contender.name === name);
      if (found === undefined)
        throw new Error(`no contender ${name}; there are ${CONTENDERS.map((one) => one.name).join()}`);
      return { name, options: { drafter, ...found.options } };
    });
    const given = (value: string | undefined, otherwise: number) =>
      value === undefined ? otherwise : positiveInteger(value);
    const { info, figures } = await measureLoad(options, contenders, {
      ...{ prompts, params: { ...GREEDY, maxTokens } },
      numStreams: positiveIntegers(values.streams),
      turns: (kind) => ({
        warmUpMs: given(values["warm-up-ms"], TURNS[kind].warmUpMs),
        numRounds: given(values.rounds, TURNS[kind].numRounds),
        numWarmUps: given(values["warm-ups"], TURNS[kind].numWarmUps),
        numTurns: given(values.turns, TURNS[kind].numTurns),
        turnMs: given(values["turn-ms"], TURNS[kind].turnMs),
      }),
    });
    const machine = describeMachine(info);
    print(`${machine.model} on ${machine.adapter} · ${machine.cpu}, ${machine.numCpus} CPUs · Node ${machine.node}`);
    print(
      `Greedy, ${textLength(0, maxTokens)} to ${maxTokens} tokens a text, drafter ${drafter}. Tokens/s of all streams together:\n`,
    );
    print(loadTable(contenders, figures));
    print(
      "\nWhere the time went, of each kind of steps: share of it, ms and tokens a step; tokens/s that the budget expected:\n",
    );
    print(stepsTable(figures));
    return { suite: "load", machine, maxTokens, drafter, figures };
  },
);

/** Whom `auto` chooses depends on the trees, and on luck where some are about as good: one drafter is compared with itself. */
async function autoChoice(options: EngineOptions): Promise<DrafterChoice> {
  const { client } = await createEngine({ ...options, drafter: "auto" });
  const { drafterFigures } = client.info;
  await client.close();
  return drafterFigures?.[0]?.drafter ?? "auto";
}

/**
 * A row for each load. `adaptive / best` is against the better of plain decoding and the best fixed trees, round by round, and where it
 * lies by 95 %; `in all` is against the best by the sums over all rounds.
 */
function loadTable(contenders: readonly Contender[], figures: readonly LoadFigures[]): string {
  const loads = [...new Set(figures.map(({ numStreams }) => numStreams))];
  return table(
    [
      "streams",
      ...contenders.map(({ name }) => name),
      "adaptive / best",
      "in all",
      "adaptive drafts in",
      "tokens a step",
    ],
    loads.map((numStreams) => {
      const row = figures.filter((figure) => figure.numStreams === numStreams);
      const adaptive = row.at(-1);
      const others = row.slice(0, -1);
      const best = others.toSorted((a, b) => a.lastOverThis - b.lastOverThis)[0];
      const inAll = Math.min(...others.map(({ lastOverThisInAll }) => lastOverThisInAll));
      const [low = 0, high = 0] = best?.lastOverThisInterval ?? [];
      return [
        String(numStreams),
        ...row.map(({ tokensPerSecond }) => tokensPerSecond.toFixed(1)),
        best ? `${best.lastOverThis.toFixed(3)} (${low.toFixed(2)} to ${high.toFixed(2)})` : "",
        best ? inAll.toFixed(3) : "",
        `${(100 * (adaptive?.draftedShare ?? 0)).toFixed(0)} %`,
        (adaptive?.acceptanceLength ?? 0).toFixed(2),
      ];
    }),
  );
}

function stepsTable(figures: readonly LoadFigures[]): string {
  return table(
    ["streams", "", "with prompts", "that draft", "plain", "expected plain", "expected with trees"],
    figures.map(({ numStreams, contender, steps, expected }) => {
      const ms = sum(STEP_KINDS, (kind) => steps[kind].ms);
      const expectations = [expected?.plain, expected?.trees].map((rate) => rate?.toFixed(0) ?? "");
      return [
        String(numStreams),
        contender,
        ...STEP_KINDS.map((kind) => describeSteps(steps[kind], ms)),
        ...expectations,
      ];
    }),
  );
}

function describeSteps({ numSteps, ms, numTokens }: StepTotals, allMs: number): string {
  if (numSteps === 0) return "";
  return `${((100 * ms) / allMs).toFixed(0)} %, ${(ms / numSteps).toFixed(2)} ms, ${(numTokens / numSteps).toFixed(1)}`;
}
