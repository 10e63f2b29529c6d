import type { StepStats, VerifiedTree } from "../engine/client.ts";
import type { EngineLoad } from "./engine-health.ts";

/** Whole seconds of history kept. */
export const HISTORY_S = 180;
/** Acceptance by depth looks at this many of the latest verified drafts. */
export const RECENT_DRAFTS = 512;

/** One second of the server's life. Times are sums over the second's steps, in ms. */
export interface FeedPoint {
  /** Seconds since start; the point covers [second, second + 1). */
  readonly second: number;
  readonly steps: number;
  readonly tokens: number;
  /** Sequences that verified at least one draft token, once a step. */
  readonly drafts: number;
  readonly draftTokens: number;
  readonly acceptedTokens: number;
  readonly draftMs: number;
  readonly verifyMs: number;
  readonly commitMs: number;
  readonly stepMs: number;
  /** Largest in the second. */
  readonly running: number;
  readonly waiting: number;
  /** Latest in the second, 0…1. */
  readonly kvUsage: number;
}

/** One node of the last verified tree, parents before children; node 0 is the root. */
export interface FeedNode {
  readonly text: string;
  /** Parent's index, −1 for the root. */
  readonly parent: number;
  readonly accepted: boolean;
  /** The drafter's estimate, 0…1. */
  readonly prob: number;
}

export interface FeedTree {
  readonly sequenceId: string;
  readonly nodes: readonly FeedNode[];
  readonly bonusText: string;
}

/** One message of the feed. `points` and `tree` hold only what the watcher has not seen. */
export interface FeedSnapshot {
  readonly uptimeMs: number;
  readonly load: EngineLoad;
  readonly totals: { readonly tokens: number; readonly draftTokens: number; readonly acceptedTokens: number };
  /** Of the latest `drafts` drafts, `reached[d]` were accepted to depth d + 1 or deeper; for every depth that a draft may have. */
  readonly depth: { readonly drafts: number; readonly reached: readonly number[] };
  readonly points: readonly FeedPoint[];
  readonly tree?: FeedTree;
}

/** Gives one watcher the state now; each call holds the whole seconds and the tree that the calls before did not. */
export type Watcher = (nowMs: number, load: EngineLoad) => FeedSnapshot;

type Bucket = { -readonly [K in keyof FeedPoint]: FeedPoint[K] };

/**
 * Folds engine steps into seconds and gives watchers what they have not seen. Memory is bounded, whoever watches.
 * Times are milliseconds of one monotonic clock, given by the caller.
 */
export class DashboardFeed {
  readonly #startMs: number;
  readonly #treeDepth: number;
  readonly #decodeToken: ((id: number) => string) | undefined;
  #current = emptyBucket(0, 0);
  /** Whole seconds, oldest first. */
  readonly #past: Bucket[] = [];
  readonly #totals = { tokens: 0, draftTokens: 0, acceptedTokens: 0 };
  /** Accepted lengths of the latest drafts, a ring. */
  readonly #recent: number[] = [];
  #numDrafts = 0;
  #tree: { readonly sequenceId: string; readonly verified: VerifiedTree } | undefined;

  /**
   * @param treeDepth levels of a draft tree below its root, at most
   * @param decodeToken left out: trees, which are pieces of someone's text, are not shown
   */
  constructor(startMs: number, treeDepth: number, decodeToken?: (id: number) => string) {
    this.#startMs = startMs;
    this.#treeDepth = treeDepth;
    this.#decodeToken = decodeToken;
  }

  /** Adds one engine step. */
  record(stats: StepStats, nowMs: number): void {
    this.#advance(nowMs);
    const bucket = this.#current;
    bucket.steps += 1;
    bucket.tokens += stats.numEmittedTokens;
    bucket.draftMs += stats.draftMs;
    bucket.verifyMs += stats.verifyMs;
    bucket.commitMs += stats.commitMs;
    bucket.stepMs += stats.stepMs;
    this.#noteLoad(stats);
    this.#totals.tokens += stats.numEmittedTokens;
    for (const sequence of stats.sequences) {
      if (sequence.numDraft === 0) continue;
      for (const sum of [bucket, this.#totals]) {
        sum.draftTokens += sequence.numDraft;
        sum.acceptedTokens += sequence.numAccepted;
      }
      bucket.drafts += 1;
      this.#recent[this.#numDrafts % RECENT_DRAFTS] = sequence.numAccepted;
      this.#numDrafts += 1;
    }
    const shown = stats.sequences.find(({ tree }) => tree !== undefined && tree.tokenIds.length > 1);
    if (shown?.tree !== undefined) this.#tree = { sequenceId: shown.id, verified: shown.tree };
  }

  /** A new watcher, who has seen nothing: its first snapshot holds the whole history. */
  watch(): Watcher {
    let seenSecond = -1;
    let seenTree: VerifiedTree | undefined;
    return (nowMs, load) => {
      this.#advance(nowMs);
      this.#noteLoad(load);
      const points = this.#past.filter(({ second }) => second > seenSecond);
      const tree = this.#tree?.verified === seenTree ? undefined : this.#viewTree();
      seenSecond = this.#current.second - 1;
      seenTree = this.#tree?.verified;
      return {
        uptimeMs: Math.round(nowMs - this.#startMs),
        load,
        totals: { ...this.#totals },
        depth: this.#acceptanceByDepth(),
        points,
        ...(tree === undefined ? {} : { tree }),
      };
    };
  }

  /** Makes the bucket of this second current; seconds without a call become empty points. */
  #advance(nowMs: number): void {
    const second = Math.floor((nowMs - this.#startMs) / 1000);
    while (this.#current.second < second) {
      this.#past.push(this.#current);
      // After a long silence only what the history can hold is filled in.
      const next = Math.max(this.#current.second + 1, second - HISTORY_S);
      this.#current = emptyBucket(next, this.#current.kvUsage);
    }
    this.#past.splice(0, this.#past.length - HISTORY_S);
  }

  #noteLoad({ numRunning, numWaiting, kvUsage }: EngineLoad): void {
    const bucket = this.#current;
    bucket.running = Math.max(bucket.running, numRunning);
    bucket.waiting = Math.max(bucket.waiting, numWaiting);
    bucket.kvUsage = kvUsage;
  }

  #acceptanceByDepth(): FeedSnapshot["depth"] {
    const depths = Array.from({ length: this.#treeDepth }, (_, d) => d);
    const reached = depths.map((d) => this.#recent.filter((length) => length > d).length);
    return { drafts: this.#recent.length, reached };
  }

  #viewTree(): FeedTree | undefined {
    const decodeToken = this.#decodeToken;
    if (this.#tree === undefined || decodeToken === undefined) return undefined;
    const { sequenceId, verified } = this.#tree;
    const nodes = verified.tokenIds.map((id, i) => ({
      text: decodeToken(id),
      parent: verified.parents[i] ?? -1,
      accepted: verified.accepted[i] ?? false,
      prob: verified.probs[i] ?? 0,
    }));
    return { sequenceId, nodes, bonusText: decodeToken(verified.bonusTokenId) };
  }
}

function emptyBucket(second: number, kvUsage: number): Bucket {
  return {
    second,
    steps: 0,
    tokens: 0,
    drafts: 0,
    draftTokens: 0,
    acceptedTokens: 0,
    draftMs: 0,
    verifyMs: 0,
    commitMs: 0,
    stepMs: 0,
    running: 0,
    waiting: 0,
    kvUsage,
  };
}
