import type { HashChain } from "../kvcache/hash-chain.ts";

/** What the scheduler needs to know of a sequence. */
export interface SequenceRequest {
  /** Unique among the sequences in flight. */
  readonly id: string;
  readonly promptTokenIds: readonly number[];
  /** Tokens that were generated before, for a replay; they count against `maxTokens` and are not emitted again. */
  readonly outputTokenIds?: readonly number[];
  /** Most tokens to generate, at least 1. */
  readonly maxTokens: number;
  /** Ids that end the sequence; the ending id itself is emitted last. */
  readonly stopTokenIds: readonly number[];
  /** Sequences share cached K/V only with those of the same salt. */
  readonly cacheSalt?: string;
  /** Lower comes first; 0 by default. */
  readonly priority?: number;
  /** Whose it is: callers of one priority are served alike. */
  readonly caller?: string;
  /** When it is to be ended, by the clock whose time `Scheduler.expire` is told; never by default. */
  readonly deadlineMs?: number;
}

/** waiting: never ran; preempted: ran, lost its blocks, waits to be computed again. */
export type SequenceStatus = "waiting" | "running" | "preempted" | "finished";

/** stop: an end token; length: maxTokens, the model's context, or all that the cache can hold; abort: the caller's; deadline: its own. */
export type SequenceFinishReason = "stop" | "length" | "abort" | "deadline";

/** A sequence's token state, as everyone but the scheduler sees it. Live: it changes with `commit`, `abort`, `schedule`. */
export interface Sequence {
  readonly id: string;
  /** Prompt, then output: a live view, never a copy. */
  readonly tokenIds: readonly number[];
  readonly numPromptTokens: number;
  readonly promptTokenIds: readonly number[];
  /** A copy of `tokenIds` from the prompt's end. */
  readonly outputTokenIds: readonly number[];
  /** Known tokens: prompt + output. The last one is the root. */
  readonly numTokens: number;
  readonly numOutputTokens: number;
  /** Tokens with final K/V. At most numTokens − 1: the root's is computed by the step that samples its successor. */
  readonly numComputedTokens: number;
  /** Prompt tokens whose K/V was there when the sequence first came into the batch, shared or copied; undefined before. */
  readonly numCachedTokens: number | undefined;
  /** Known tokens at which the sequence ends: prompt + maxTokens, or less where context or cache hold less. */
  readonly maxNumTokens: number;
  readonly maxTokens: number;
  readonly stopTokenIds: ReadonlySet<number>;
  readonly status: SequenceStatus;
  readonly finishReason: SequenceFinishReason | undefined;
  readonly priority: number;
  readonly caller: string;
  /** Order of arrival; lower came first. */
  readonly arrival: number;
  /** Infinite where it has none. */
  readonly deadlineMs: number;
}

/** The state behind a `Sequence`; only the scheduler holds it as this type. */
export class SequenceState implements Sequence {
  readonly id: string;
  readonly numPromptTokens: number;
  readonly maxTokens: number;
  readonly stopTokenIds: ReadonlySet<number>;
  readonly maxNumTokens: number;
  readonly priority: number;
  readonly caller: string;
  readonly arrival: number;
  readonly deadlineMs: number;
  numComputedTokens = 0;
  /** Known tokens that its caller's account is not to be charged with any more. */
  numSettled = 0;
  numCachedTokens: number | undefined = undefined;
  status: SequenceStatus = "waiting";
  finishReason: SequenceFinishReason | undefined = undefined;
  /** Names its blocks for the prefix cache. */
  readonly hashChain: HashChain | undefined;
  readonly #tokenIds: number[];

  /**
   * @param maxSequenceLen tokens of prompt + output that model and cache can hold
   * @param chainOf the block manager's names for blocks of a live list of tokens
   */
  constructor(
    request: SequenceRequest,
    arrival: number,
    maxSequenceLen: number,
    chainOf: (tokenIds: readonly number[]) => HashChain | undefined,
  ) {
    this.id = request.id;
    this.numPromptTokens = request.promptTokenIds.length;
    this.maxTokens = request.maxTokens;
    this.stopTokenIds = new Set(request.stopTokenIds);
    this.maxNumTokens = Math.min(this.numPromptTokens + request.maxTokens, maxSequenceLen);
    this.priority = request.priority ?? 0;
    this.caller = request.caller ?? "";
    this.arrival = arrival;
    this.deadlineMs = request.deadlineMs ?? Number.POSITIVE_INFINITY;
    this.#tokenIds = [...request.promptTokenIds, ...(request.outputTokenIds ?? [])];
    this.hashChain = chainOf(this.#tokenIds);
  }

  get tokenIds(): readonly number[] {
    return this.#tokenIds;
  }

  get promptTokenIds(): readonly number[] {
    return this.#tokenIds.slice(0, this.numPromptTokens);
  }

  get outputTokenIds(): readonly number[] {
    return this.#tokenIds.slice(this.numPromptTokens);
  }

  get numTokens(): number {
    return this.#tokenIds.length;
  }

  get numOutputTokens(): number {
    return this.#tokenIds.length - this.numPromptTokens;
  }

  /** Known tokens without final K/V, the root included: 1 for a decode, more for a prefill. */
  get numPendingTokens(): number {
    return this.numTokens - this.numComputedTokens;
  }

  /** Deepest draft node whose acceptance, with the bonus token after it, does not pass the sequence's end. */
  get maxDraftDepth(): number {
    return this.maxNumTokens - this.numTokens - 1;
  }

  /** Takes one sampled token and says whether it ends the sequence, and why. */
  append(tokenId: number): "stop" | "length" | undefined {
    this.#tokenIds.push(tokenId);
    if (this.stopTokenIds.has(tokenId)) return "stop";
    return this.numTokens >= this.maxNumTokens ? "length" : undefined;
  }

  finish(reason: SequenceFinishReason): void {
    this.status = "finished";
    this.finishReason = reason;
  }
}
