import type { DrafterChoice, EngineOptions } from "../engine/engine-options.ts";
import { GREEDY, type SamplingParams } from "../engine/sampling-params.ts";
import { numBlocksFor } from "../kvcache/ids.ts";
import { generate, sum } from "./generate.ts";
import { SharedDevice } from "./shared-device.ts";

/** One way to sample; `params` says what differs from greedy, without seed and length. */
export interface SamplingCase {
  readonly name: string;
  readonly params: Partial<SamplingParams>;
}

export const SAMPLING_CASES: readonly SamplingCase[] = [
  { name: "greedy", params: {} },
  { name: "T 0.7, top-p 0.9", params: { temperature: 0.7, topP: 0.9 } },
  {
    name: "T 0.7, top-k 40, min-p 0.05, repetition 1.1, DRY",
    params: {
      ...{ temperature: 0.7, topK: 40, minP: 0.05, repetitionPenalty: 1.1 },
      dry: { multiplier: 0.8, base: 1.75, allowedLength: 2, breakers: [] },
    },
  },
  {
    name: "T 1, typical-p 0.95, presence 0.4, frequency 0.2",
    params: { temperature: 1, typicalP: 0.95, presencePenalty: 0.4, frequencyPenalty: 0.2 },
  },
  {
    name: "T 1, top-p 0.95, top-k 50, min-p 0.02, log-probabilities",
    params: { temperature: 1, topP: 0.95, topK: 50, minP: 0.02, logprobs: 3 },
  },
];
export const SEEDS: readonly number[] = [1, 2, 3, 4, 5];
export const BATCH_SIZES: readonly number[] = [1, 3, 8];

/** A way to choose trees. */
export interface TreeKind {
  readonly name: string;
  readonly options: Pick<EngineOptions, "treeNodes" | "treeDepth" | "treeTopK" | "tree" | "treeBudget">;
}

export const TREE_KINDS: readonly TreeKind[] = [
  ...[1, 4, 8, 16].map((treeNodes) => ({ name: `dynamic, ${treeNodes} nodes`, options: { treeNodes } })),
  { name: "shape 3,1,2", options: { tree: [3, 1, 2] } },
  { name: "sequoia, 16 nodes", options: { treeNodes: 16, tree: "sequoia" } },
];

/** Whose sizes depend on the machine's times: trees that share their rows, and plain steps between them. */
const ADAPTIVE: TreeKind = { name: "adaptive, 16 nodes", options: { treeNodes: 16, treeBudget: "adaptive" } };

/** Larger than most: a software adapter takes long for them. */
const LARGE: TreeKind = { name: "dynamic, 96 nodes", options: { treeNodes: 96, treeDepth: 6, treeTopK: 6 } };

/** Memory of the engine that speculates. */
export interface MemoryCase {
  readonly name: string;
  /** So many of the longest sequences fit in; undefined: all of a batch. Others lose their blocks and are computed again. */
  readonly numSequences?: number;
}

export const MEMORY_CASES: readonly MemoryCase[] = [
  { name: "room for all" },
  { name: "room for one and a half", numSequences: 1.5 },
];

/** Of a tree but large ones, root included. */
const MOST_NODES = Math.max(...TREE_KINDS.map(({ options }) => options.treeNodes ?? 0));

/** One comparison: the same requests, in one batch, with speculation and without; the latter always has room for all. */
export interface IdentityPair {
  readonly drafter: DrafterChoice;
  readonly trees: TreeKind;
  readonly memory: MemoryCase;
  readonly batchSize: number;
  readonly sampling: SamplingCase;
  readonly seed: number;
}

export interface PairResult {
  readonly pair: IdentityPair;
  readonly numTokens: number;
  /** Tokens that differ from plain decoding's: the promise is 0. */
  readonly numDifferent: number;
  readonly numAccepted: number;
  readonly numRejected: number;
  readonly numPreemptions: number;
}

/** Every combination. */
export function allPairs(drafters: readonly DrafterChoice[], seeds = SEEDS): IdentityPair[] {
  return drafters.flatMap((drafter) =>
    [...TREE_KINDS, ADAPTIVE, LARGE].flatMap((trees) =>
      MEMORY_CASES.flatMap((memory) =>
        BATCH_SIZES.flatMap((batchSize) =>
          SAMPLING_CASES.flatMap((sampling) =>
            seeds.map((seed) => ({ drafter, trees, memory, batchSize, sampling, seed })),
          ),
        ),
      ),
    ),
  );
}

/**
 * A selection in which every value of every dimension comes up with each drafter. Drafters share their batches, so that the plain
 * side of each is computed once.
 */
export function coveringPairs(drafters: readonly DrafterChoice[]): IdentityPair[] {
  const at = <T>(values: readonly T[], i: number): T => values[i % values.length] as T;
  return Array.from({ length: TREE_KINDS.length }, (_, i) => ({
    trees: at(TREE_KINDS, i),
    memory: at(MEMORY_CASES, i),
    batchSize: at(BATCH_SIZES, i),
    sampling: at(SAMPLING_CASES, i),
    seed: at(SEEDS, i + Math.floor(i / SEEDS.length)),
  })).flatMap((batch) => drafters.map((drafter) => ({ drafter, ...batch })));
}

/**
 * Runs pairs; the plain side of a batch is computed once and shared by all drafters and trees. Engines are opened one at
 * a time, besides the plain one, all on one device.
 */
export async function* runPairs(
  options: EngineOptions,
  pairs: readonly IdentityPair[],
  prompts: readonly (readonly number[])[],
  maxTokens: number,
): AsyncGenerator<PairResult> {
  const shared = new SharedDevice();
  const plain = await shared.createEngine({ ...options, drafter: "none", prefixCache: false });
  const expected = new Map<string, Promise<readonly (readonly number[])[]>>();
  for (const own of enginesOf(pairs)) {
    const [{ drafter, trees, memory }] = own;
    const numKvBlocks = blocksOf(memory, trees, prompts, maxTokens);
    const speculating = { drafter, treeBudget: "fixed", ...trees.options, ...numKvBlocks } as const;
    const { client } = await shared.createEngine({ ...options, ...speculating });
    let numPreemptions = 0;
    client.onStep((step) => {
      numPreemptions += step.numPreemptions;
    });
    for (const pair of own) {
      const requests = batchOf(pair, prompts, maxTokens);
      const key = `${pair.batchSize}/${pair.sampling.name}/${pair.seed}`;
      const side =
        expected.get(key) ??
        Promise.all(
          requests.map(async ({ prompt, params }) => (await generate(plain.client, prompt, params)).tokenIds),
        );
      expected.set(key, side);
      const want = await side;
      numPreemptions = 0;
      const runs = await Promise.all(requests.map(({ prompt, params }) => generate(client, prompt, params)));
      const numAccepted = sum(runs, (run) => run.numAccepted);
      yield {
        pair,
        numTokens: sum(runs, ({ tokenIds }) => tokenIds.length),
        numDifferent: runs.reduce((total, { tokenIds }, i) => total + countDifferent(tokenIds, want[i] ?? []), 0),
        numAccepted,
        numRejected: sum(runs, (run) => run.numDraft) - numAccepted,
        numPreemptions,
      };
    }
    await client.close();
  }
  await plain.client.close();
  await shared.close();
}

/** The pairs by the engine that they need. */
function enginesOf(pairs: readonly IdentityPair[]): Iterable<[IdentityPair, ...IdentityPair[]]> {
  const engines = new Map<string, [IdentityPair, ...IdentityPair[]]>();
  for (const pair of pairs) {
    const key = `${pair.drafter}/${pair.trees.name}/${pair.memory.name}`;
    const own = engines.get(key);
    if (own) own.push(pair);
    else engines.set(key, [pair]);
  }
  return engines.values();
}

/** Blocks of the engine, the one that is never given away included; nothing where there is room for all. */
function blocksOf(
  { numSequences }: MemoryCase,
  { options: { treeNodes = 0 } }: TreeKind,
  prompts: readonly (readonly number[])[],
  maxTokens: number,
) {
  if (numSequences === undefined) return {};
  const mostNodes = Math.max(MOST_NODES, treeNodes);
  const longest = Math.max(...prompts.map((prompt) => prompt.length)) + maxTokens + mostNodes;
  return { numKvBlocks: 1 + numBlocksFor(Math.ceil(numSequences * longest)) };
}

/** Sequences of a batch differ in prompt, length and seed, so that they join and leave at different steps. */
function batchOf(
  { batchSize, seed, sampling }: IdentityPair,
  prompts: readonly (readonly number[])[],
  maxTokens: number,
) {
  return Array.from({ length: batchSize }, (_, i) => ({
    prompt: prompts[(seed + 3 * i) % prompts.length] ?? [0],
    params: { ...GREEDY, ...sampling.params, seed: [seed, 0] as const, maxTokens: Math.max(1, maxTokens - 3 * i) },
  }));
}

function countDifferent(got: readonly number[], want: readonly number[]): number {
  return Array.from({ length: Math.max(got.length, want.length) }, (_, i) => got[i] !== want[i]).filter(Boolean).length;
}
