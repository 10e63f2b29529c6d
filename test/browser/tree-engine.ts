import { setTimeout as sleep } from "node:timers/promises";
import type {
  EngineClient,
  EngineInfo,
  EngineOutput,
  EngineRequest,
  StepStats,
  VerifiedTree,
} from "../../engine/client.ts";

/** What the fake engine answers to everything, a token each. */
export const WORDS: readonly string[] = (
  "Once| upon| a| time|,| a| robot| learned| to| paint|.| It| mixed| colours| all| day|,| and| at| night| it| dreamed| of| the| sea|.| " +
  "In| the| morning| it| painted| what| it| had| seen|.\n| The| end|."
).split("|");

/** Words that a drafter could have meant instead, as token ids after those of `WORDS`. */
const OTHER_WORDS: readonly string[] = [" the", " one", " day", " was", " little", " and", " then", "!"];
/** Drafted tokens that each step accepts, over and over. */
const ACCEPTED_LENGTHS: readonly number[] = [3, 0, 2, 4, 1, 2];
const TREE_DEPTH = 5;

export const TREE_ENGINE_INFO: EngineInfo = {
  modelName: "stories-15m",
  drafter: "draft",
  adapter: "SwiftShader Device (LLVM 16)",
  adapterKind: "software",
  features: [],
  maxModelLen: 256,
  vocabSize: WORDS.length + OTHER_WORDS.length,
  numKvBlocks: 129,
  blockSize: 16,
  maxNumSeqs: 8,
  treeDepth: TREE_DEPTH,
  kernels: { target: { key: "trees", rowTiles: [1], ranges: {} } },
  fingerprint: "trees",
};

export const wordOf = (id: number): string => WORDS[id] ?? OTHER_WORDS[id - WORDS.length] ?? `<${id}>`;

/** Answers every request with `WORDS`, in steps of `stepMs`, each with the draft tree that it "verified". */
export class TreeEngine implements EngineClient {
  readonly info = TREE_ENGINE_INFO;
  readonly #listeners = new Set<(stats: StepStats) => void>();
  readonly #stepMs: number;
  #numRunning = 0;

  constructor(stepMs: number) {
    this.#stepMs = stepMs;
  }

  async *generate(request: EngineRequest, signal?: AbortSignal): AsyncGenerator<EngineOutput> {
    this.#numRunning += 1;
    try {
      for (let at = 0, step = 0; at < WORDS.length; step++) {
        await sleep(this.#stepMs);
        if (signal?.aborted) {
          yield { tokenIds: [], numAccepted: 0, numDraft: 0, finishReason: "abort" };
          return;
        }
        const numAccepted = Math.min(ACCEPTED_LENGTHS[step % ACCEPTED_LENGTHS.length] ?? 0, WORDS.length - at - 1);
        const tokenIds = Array.from({ length: numAccepted + 1 }, (_, i) => at + i);
        this.#tell(request.id, treeOf(at, numAccepted));
        at += tokenIds.length;
        // No word is an end token, so that it is the length that ends the answer.
        const end = at === WORDS.length ? ({ finishReason: "length" } as const) : {};
        yield { tokenIds, numAccepted, numDraft: 2 * TREE_DEPTH, ...end };
      }
    } finally {
      this.#numRunning -= 1;
    }
  }

  onStep(listener: (stats: StepStats) => void): () => void {
    this.#listeners.add(listener);
    return () => this.#listeners.delete(listener);
  }

  load(): ReturnType<EngineClient["load"]> {
    return { numRunning: this.#numRunning, numWaiting: 0, kvUsage: this.#numRunning * 0.12 };
  }

  async close(): Promise<void> {}

  #tell(id: string, tree: VerifiedTree): void {
    const numAccepted = tree.accepted.filter(Boolean).length - 1;
    const stats: StepStats = {
      ...this.load(),
      ...{ numPrefillTokens: 0, numPrefixQueryTokens: 0, numPrefixHitTokens: 0 },
      numRows: tree.tokenIds.length,
      numEmittedTokens: numAccepted + 1,
      numPreemptions: 0,
      draftMs: 1.4 + 0.3 * numAccepted,
      verifyMs: 6 + numAccepted,
      commitMs: 0.4,
      stepMs: 9 + 1.3 * numAccepted,
      sequences: [{ id, numDraft: tree.tokenIds.length - 1, numAccepted, tree }],
    };
    for (const listener of this.#listeners) listener(stats);
  }
}

/** A path of `TREE_DEPTH` drafted tokens with one alternative beside each; its first `numAccepted` levels are right. */
function treeOf(at: number, numAccepted: number): VerifiedTree {
  const other = (i: number): number => WORDS.length + ((at + i) % OTHER_WORDS.length);
  const levels = Array.from({ length: TREE_DEPTH }, (_, i) => i);
  return {
    tokenIds: [Math.max(0, at - 1), ...levels.flatMap((i) => [i < numAccepted ? at + i : other(i), other(i + 3)])],
    parents: [-1, ...levels.flatMap((i) => [Math.max(0, 2 * i - 1), Math.max(0, 2 * i - 1)])],
    accepted: [true, ...levels.flatMap((i) => [i < numAccepted, false])],
    probs: [1, ...levels.flatMap((i) => [0.9 - 0.13 * i, 0.06 + 0.02 * i])],
    bonusTokenId: at + numAccepted,
  };
}
