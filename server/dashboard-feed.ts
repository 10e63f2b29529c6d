import type { EngineClient, StepStats, VerifiedTree } from "../engine/client.ts";

/** Seconds of history kept. */
export const HISTORY_S = 180;
/** Acceptance by depth looks at this many of the latest verified drafts. */
export const RECENT_DRAFTS = 512;
/** Drafts accepted deeper than this count as this deep. */
export const MAX_DEPTH = 32;
/** Rates are means over this many whole seconds. */
export const RATE_WINDOW_S = 3;

/** What happened in one second of the server's life. Times are sums over the second's steps, in ms. */
export interface FeedPoint {
  /** Seconds since start; the point covers [second, second + 1). */
  readonly second: number;
  readonly steps: number;
  readonly tokens: number;
  readonly prefillTokens: number;
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

/** Marks what a watcher has seen; `FEED_START` for one that has seen nothing. */
export interface FeedCursor {
  readonly second: number;
  readonly treeSerial: number;
}

export const FEED_START: FeedCursor = { second: -1, treeSerial: 0 };

/** One message of the feed. `points` and `tree` hold only what the watcher has not seen. */
export interface FeedSnapshot {
  readonly uptimeMs: number;
  readonly running: number;
  readonly waiting: number;
  readonly kvUsage: number;
  /** Mean over the last whole seconds, idle time included. */
  readonly tokensPerSecond: number;
  /** The same tokens over the time spent in steps; 0 when there was none. */
  readonly busyTokensPerSecond: number;
  readonly totals: {
    readonly steps: number;
    readonly tokens: number;
    readonly draftTokens: number;
    readonly acceptedTokens: number;
    readonly preemptions: number;
  };
  /** Of the latest `drafts` drafts, `reached[d]` were accepted to depth d + 1 or deeper. */
  readonly depth: { readonly drafts: number; readonly reached: readonly number[] };
  readonly points: readonly FeedPoint[];
  readonly tree?: FeedTree;
  readonly cursor: FeedCursor;
}

type Bucket = { -readonly [K in keyof FeedPoint]: FeedPoint[K] };

const emptyBucket = (): Bucket => ({
  second: -1,
  steps: 0,
  tokens: 0,
  prefillTokens: 0,
  drafts: 0,
  draftTokens: 0,
  acceptedTokens: 0,
  draftMs: 0,
  verifyMs: 0,
  commitMs: 0,
  stepMs: 0,
  running: 0,
  waiting: 0,
  kvUsage: 0,
});

const round3 = (x: number): number => Math.round(x * 1000) / 1000;

/**
 * Folds engine steps into one small ring of seconds, and gives watchers what they have not seen.
 * `record` allocates nothing, so it may run after every step whether or not anyone watches.
 * All times are milliseconds of one monotonic clock, given by the caller.
 */
export class DashboardFeed {
  readonly #startMs: number;
  readonly #decodeToken: (id: number) => string;
  readonly #ring: readonly Bucket[] = Array.from({ length: HISTORY_S }, emptyBucket);
  readonly #totals = { steps: 0, tokens: 0, draftTokens: 0, acceptedTokens: 0, preemptions: 0 };
  /** Accepted lengths of the latest drafts, a ring; `#histogram[n]` counts the n's in it. */
  readonly #recent = new Uint8Array(RECENT_DRAFTS);
  readonly #histogram = new Uint32Array(MAX_DEPTH + 1);
  #numDrafts = 0;
  #second = -1;
  #tree: VerifiedTree | undefined;
  #treeSequenceId = "";
  #treeSerial = 0;

  constructor(options: { readonly startMs: number; readonly decodeToken: (id: number) => string }) {
    this.#startMs = options.startMs;
    this.#decodeToken = options.decodeToken;
    this.#bucketAt(options.startMs);
  }

  /** Adds one engine step. */
  record(stats: StepStats, nowMs: number): void {
    const bucket = this.#bucketAt(nowMs);
    bucket.steps += 1;
    bucket.tokens += stats.numEmittedTokens;
    bucket.prefillTokens += stats.numPrefillTokens;
    bucket.draftMs += stats.draftMs;
    bucket.verifyMs += stats.verifyMs;
    bucket.commitMs += stats.commitMs;
    bucket.stepMs += stats.stepMs;
    bucket.running = Math.max(bucket.running, stats.numRunning);
    bucket.waiting = Math.max(bucket.waiting, stats.numWaiting);
    bucket.kvUsage = stats.kvUsage;
    this.#totals.steps += 1;
    this.#totals.tokens += stats.numEmittedTokens;
    this.#totals.preemptions += stats.numPreemptions;

    let newTree = false;
    for (const sequence of stats.sequences) {
      if (sequence.numDraft === 0) continue;
      bucket.drafts += 1;
      bucket.draftTokens += sequence.numDraft;
      bucket.acceptedTokens += sequence.numAccepted;
      this.#totals.draftTokens += sequence.numDraft;
      this.#totals.acceptedTokens += sequence.numAccepted;
      this.#countDepth(sequence.numAccepted);
      if (!newTree && sequence.tree !== undefined && sequence.tree.tokenIds.length > 1) {
        newTree = true;
        this.#tree = sequence.tree;
        this.#treeSequenceId = sequence.id;
        this.#treeSerial += 1;
      }
    }
  }

  /** The state now, with the whole seconds and the tree that `since` has not seen. */
  snapshot(nowMs: number, load: ReturnType<EngineClient["load"]>, since: FeedCursor): FeedSnapshot {
    const current = this.#bucketAt(nowMs);
    current.running = Math.max(current.running, load.numRunning);
    current.waiting = Math.max(current.waiting, load.numWaiting);
    current.kvUsage = load.kvUsage;

    const tree = this.#tree !== undefined && since.treeSerial !== this.#treeSerial ? this.#view(this.#tree) : undefined;
    return {
      uptimeMs: Math.round(nowMs - this.#startMs),
      running: load.numRunning,
      waiting: load.numWaiting,
      kvUsage: round3(load.kvUsage),
      ...this.#rates(),
      totals: { ...this.#totals },
      depth: this.#depth(),
      points: this.#wholeSeconds(since.second + 1).map((bucket) => ({
        ...bucket,
        draftMs: round3(bucket.draftMs),
        verifyMs: round3(bucket.verifyMs),
        commitMs: round3(bucket.commitMs),
        stepMs: round3(bucket.stepMs),
        kvUsage: round3(bucket.kvUsage),
      })),
      ...(tree === undefined ? {} : { tree }),
      cursor: { second: this.#second - 1, treeSerial: this.#treeSerial },
    };
  }

  /** The bucket of this second; seconds passed over since the last call become empty ones. */
  #bucketAt(nowMs: number): Bucket {
    const second = Math.max(this.#second, Math.floor((nowMs - this.#startMs) / 1000), 0);
    const kvUsage = this.#second < 0 ? 0 : this.#slot(this.#second).kvUsage;
    for (let s = Math.max(this.#second + 1, second - HISTORY_S + 1); s <= second; s++) {
      const bucket = this.#slot(s);
      for (const key of BUCKET_KEYS) bucket[key] = 0;
      bucket.second = s;
      bucket.kvUsage = kvUsage;
    }
    this.#second = second;
    return this.#slot(second);
  }

  #slot(second: number): Bucket {
    const bucket = this.#ring[second % HISTORY_S];
    if (bucket === undefined) throw new RangeError(`second ${second} is negative`);
    return bucket;
  }

  /** Buckets from `first` on that are complete and still kept. */
  #wholeSeconds(first: number): Bucket[] {
    const from = Math.max(first, this.#second - HISTORY_S + 1, 0);
    return Array.from({ length: Math.max(0, this.#second - from) }, (_, i) => this.#slot(from + i));
  }

  #rates(): { tokensPerSecond: number; busyTokensPerSecond: number } {
    const window = this.#wholeSeconds(this.#second - RATE_WINDOW_S);
    let tokens = 0;
    let busyMs = 0;
    for (const bucket of window) {
      tokens += bucket.tokens;
      busyMs += bucket.stepMs;
    }
    return {
      tokensPerSecond: round3(tokens / Math.max(1, window.length)),
      busyTokensPerSecond: busyMs > 0 ? round3((tokens * 1000) / busyMs) : 0,
    };
  }

  #countDepth(numAccepted: number): void {
    const slot = this.#numDrafts % RECENT_DRAFTS;
    if (this.#numDrafts >= RECENT_DRAFTS) this.#addToHistogram(this.#recent[slot] ?? 0, -1);
    const depth = Math.min(numAccepted, MAX_DEPTH);
    this.#recent[slot] = depth;
    this.#addToHistogram(depth, 1);
    this.#numDrafts += 1;
  }

  #addToHistogram(depth: number, change: number): void {
    this.#histogram[depth] = (this.#histogram[depth] ?? 0) + change;
  }

  /** Turns "exactly n accepted" into "n or more", without the empty tail. */
  #depth(): FeedSnapshot["depth"] {
    const reached: number[] = [];
    let atLeast = 0;
    for (let n = MAX_DEPTH; n >= 1; n--) {
      atLeast += this.#histogram[n] ?? 0;
      if (atLeast > 0) reached.unshift(atLeast);
    }
    return { drafts: Math.min(this.#numDrafts, RECENT_DRAFTS), reached };
  }

  #view(tree: VerifiedTree): FeedTree {
    return {
      sequenceId: this.#treeSequenceId,
      nodes: tree.tokenIds.map((id, i) => ({
        text: this.#decodeToken(id),
        parent: tree.parents[i] ?? -1,
        accepted: tree.accepted[i] ?? false,
        prob: round3(tree.probs[i] ?? 0),
      })),
      bonusText: this.#decodeToken(tree.bonusTokenId),
    };
  }
}

const BUCKET_KEYS = Object.keys(emptyBucket()) as readonly (keyof FeedPoint)[];
