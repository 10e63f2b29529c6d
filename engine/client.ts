import type { KernelChoice } from "../kernels/index.ts";
import type { BesideKind } from "./model/bundled.ts";
import type { TokenLogprobs } from "./runner/token-logprobs.ts";
import type { SamplingParams } from "./sampling-params.ts";
import type { SpeculationState } from "./speculative/budget/tree-policy.ts";

export type { TokenLogprobs } from "./runner/token-logprobs.ts";

/** One sequence to generate. A request with n choices is n of these, with choice 0…n−1. */
export interface EngineRequest {
  /** Unique among the sequences in flight, e.g. "cmpl-…/0". */
  readonly id: string;
  readonly choice: number;
  readonly promptTokenIds: readonly number[];
  /** Tokens of the answer that were generated before, elsewhere: the sequence goes on behind them. They are not emitted again. */
  readonly outputTokenIds?: readonly number[];
  readonly params: SamplingParams;
  /** Whose request it is: K/V and texts of one salt are never used for another. */
  readonly cacheSalt?: string;
  /** Lower values come first and take the places of higher ones; 0 by default. */
  readonly priority?: number;
  /** Callers of one priority are served alike, whatever each of them asks for. */
  readonly caller?: string;
  /** What the output may be for the most part, as token ids: drafters may use it. */
  readonly prediction?: readonly number[];
  /** It is ended after so long, counted from `generate`: before its first step, or between two steps. Never by default. */
  readonly timeoutMs?: number;
}

/** stop: an end token; length: maxTokens or the model's context; abort: the caller's; deadline: `timeoutMs`; error: the engine failed. */
export type FinishReason = "stop" | "length" | "abort" | "deadline" | "error";

/** What one engine step emitted for one sequence. */
export interface EngineOutput {
  /** Tokens in order. Empty only in the last output of a sequence that was aborted, failed or met its deadline. */
  readonly tokenIds: readonly number[];
  /** The first `numAccepted` of `tokenIds` were drafted and accepted; the one after them was sampled by the target. */
  readonly numAccepted: number;
  /** One for each of `tokenIds`, where the request asks for them. */
  readonly logprobs?: readonly TokenLogprobs[];
  /** Draft tokens that this step verified for the sequence. */
  readonly numDraft: number;
  /** How long the sequence waited for its first step, in ms; absent where it never had one. */
  readonly queueMs?: number;
  /** Prompt tokens whose K/V was in the prefix cache; absent where the sequence never had a step. */
  readonly numCachedTokens?: number;
  /** Set once, in the last output. */
  readonly finishReason?: FinishReason;
  /** With finishReason "error": what happened, fit for a client to read. */
  readonly error?: string;
}

/** A draft tree after verification, for the dashboard. Node 0 is the root; `accepted[i]`: the walk passed node i. */
export interface VerifiedTree {
  readonly tokenIds: readonly number[];
  /** Parent's index, −1 for the root. */
  readonly parents: readonly number[];
  readonly accepted: readonly boolean[];
  /** The drafter's estimate of a node's conditional probability; 1 for the root. */
  readonly probs: readonly number[];
  /** Names of the drafters that proposed a node, where there are several. */
  readonly proposers?: readonly (readonly string[])[];
  /** Token that the target sampled where it left the tree. */
  readonly bonusTokenId: number;
}

/** Where `verifyMs` went, in ms. */
export interface PassProfile {
  /** On the device: from token ids to logits. */
  readonly forwardMs: number;
  /** On the device: from logits to drawn tokens and, where the device walks them, to committed ones. */
  readonly sampleMs: number;
  /** The rest: planning, encoding, submit, reading back, as far as the device did not work meanwhile. */
  readonly overheadMs: number;
}

/** What one step did: the source of metrics and dashboard. */
export interface StepStats {
  readonly numRunning: number;
  readonly numWaiting: number;
  /** Share of KV blocks in use, 0…1. */
  readonly kvUsage: number;
  readonly numPrefillTokens: number;
  /** Prompt tokens of sequences that had their first step, and those of them whose K/V was in the prefix cache. */
  readonly numPrefixQueryTokens: number;
  readonly numPrefixHitTokens: number;
  /** Rows of the verify pass: prompt tokens, plain decodes and tree nodes. */
  readonly numRows: number;
  readonly numEmittedTokens: number;
  readonly numPreemptions: number;
  /** A step that drafts on the device counts as verifying as a whole, unless the engine was asked to measure. */
  readonly draftMs: number;
  readonly verifyMs: number;
  readonly commitMs: number;
  /** Since the step before it or, where the engine was idle, since it began: steps may overlap. */
  readonly stepMs: number;
  /** Parts of the verify pass, where the engine was asked to measure them and the adapter can. */
  readonly pass?: PassProfile;
  readonly sequences: readonly StepSequence[];
  /** Where it adapts to what pays: what is estimated after this step. */
  readonly speculation?: SpeculationState;
}

/** One sequence that emitted tokens in a step. */
export interface StepSequence {
  readonly id: string;
  readonly numDraft: number;
  readonly numAccepted: number;
  readonly tree?: VerifiedTree;
}

/** How the products of each model run. Plain data: hand it to the engine that takes this one's place. */
export interface EngineKernels {
  readonly target: KernelChoice;
  readonly draft?: KernelChoice;
}

/** How fast one stream was decoded with a drafter, when drafters were compared. */
export interface DrafterFigures {
  readonly drafter: BesideKind;
  /** Without the time to the first token. */
  readonly tokensPerSecond: number;
  /** Tokens a step. */
  readonly acceptanceLength: number;
}

/** What is served and on what; fixed once the engine is ready. */
export interface EngineInfo {
  readonly modelName: string;
  readonly drafter: string;
  readonly adapter: string;
  readonly adapterKind: "gpu" | "software";
  readonly features: readonly string[];
  /** Tokens of prompt + output that one sequence may hold. */
  readonly maxModelLen: number;
  readonly vocabSize: number;
  readonly numKvBlocks: number;
  readonly blockSize: number;
  readonly maxNumSeqs: number;
  /** Levels that a draft tree may have below its root; 0 where nothing is drafted. */
  readonly treeDepth: number;
  readonly kernels: EngineKernels;
  /** Where `auto` chose among several drafters by measuring: all of them, the fastest first, which is the one that drafts. */
  readonly drafterFigures?: readonly DrafterFigures[];
  /** Identifies model file, adapter, build, choice of kernels and numerics: equal fingerprints promise equal text. */
  readonly fingerprint: string;
}

/** What became of an engine that runs in a process of its own. */
export interface Supervision {
  /** Why it is being started again just now. Sequences wait for that. */
  readonly restarting?: string;
  /** Attempts to start it again. */
  readonly numRestarts: number;
  /** Restarts that a lost device was the cause of. */
  readonly numDeviceLosses: number;
  /** Sequences that went on in another process than they were in. */
  readonly numReplays: number;
}

/** What an engine holds: in a server without work it is the same from hour to hour. */
export interface EngineMemory {
  /** Of all buffers on the device, weights and KV cache included. */
  readonly gpuBytes: number;
  readonly numGpuBuffers: number;
  /** Of JavaScript objects in the process that it runs in. */
  readonly heapBytes: number;
}

/** The engine as the server sees it. Implementations: in this process, and in a child process. */
export interface EngineClient {
  readonly info: EngineInfo;
  /** As it is now. Absent where the engine runs in this process. */
  readonly supervision?: Supervision;
  /** As it told last. Absent where it has not yet. */
  readonly memory?: EngineMemory | undefined;
  /**
   * Generates one sequence; ends after the output that carries finishReason.
   * Leaving the loop early or aborting `signal` aborts the sequence within two steps.
   * @throws EngineRequestError when the request can never be served (context too long, token id out of range);
   *   EngineDeadError when nothing can be generated any more.
   */
  generate(request: EngineRequest, signal?: AbortSignal): AsyncIterable<EngineOutput>;
  /** Called after every step; returns the way to stop listening. */
  onStep(listener: (stats: StepStats) => void): () => void;
  /**
   * Sequences waiting for their first step, and sequences in the batch.
   * @throws EngineDeadError when nothing can be generated any more
   */
  load(): { readonly numWaiting: number; readonly numRunning: number; readonly kvUsage: number };
  close(): Promise<void>;
}
