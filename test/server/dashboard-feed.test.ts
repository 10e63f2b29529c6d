import { describe, expect, it } from "vitest";
import type { StepSequence, StepStats, VerifiedTree } from "../../engine/client.ts";
import { DashboardFeed, HISTORY_S, RECENT_DRAFTS } from "../../server/dashboard-feed.ts";

const START_MS = 5_000;
const IDLE = { numRunning: 0, numWaiting: 0, kvUsage: 0 };
/** Milliseconds of the clock, this many seconds after the feed's start. */
const at = (seconds: number): number => START_MS + seconds * 1000;
const TREE_DEPTH = 4;
const newFeed = (): DashboardFeed => new DashboardFeed(START_MS, TREE_DEPTH, (id) => `<${id}>`);

function step(sequences: readonly StepSequence[], more: Partial<StepStats> = {}): StepStats {
  return {
    ...{ numPrefixQueryTokens: 0, numPrefixHitTokens: 0 },
    ...{ numRunning: 1, numWaiting: 0, kvUsage: 0.25, numPrefillTokens: 0, numRows: 4, numPreemptions: 0 },
    ...{ draftMs: 1, verifyMs: 2, commitMs: 0.5, stepMs: 4 },
    numEmittedTokens: sequences.reduce((sum, { numAccepted }) => sum + numAccepted + 1, 0),
    sequences,
    ...more,
  };
}

const draft = (numDraft: number, numAccepted: number, tree?: VerifiedTree): StepSequence => ({
  id: "a/0",
  numDraft,
  numAccepted,
  ...(tree === undefined ? {} : { tree }),
});

const TREE: VerifiedTree = {
  tokenIds: [7, 8, 9],
  parents: [-1, 0, 0],
  accepted: [true, true, false],
  probs: [1, 0.75, 0.25],
  bonusTokenId: 10,
};

describe("points", () => {
  it("sums the steps of a second and shows it once it is whole", () => {
    const feed = newFeed();
    const watch = feed.watch();
    feed.record(step([draft(4, 2), draft(0, 0)], { numRunning: 2, numWaiting: 3 }), at(0.2));
    feed.record(step([draft(4, 1)], { kvUsage: 0.5 }), at(0.9));
    expect(watch(at(0.99), IDLE).points).toEqual([]);
    expect(watch(at(1), IDLE).points).toEqual([
      {
        ...{ second: 0, steps: 2, tokens: 6, drafts: 2, draftTokens: 8, acceptedTokens: 3 },
        ...{ draftMs: 2, verifyMs: 4, commitMs: 1, stepMs: 8 },
        ...{ running: 2, waiting: 3, kvUsage: 0 },
      },
    ]);
  });

  it("gives each watcher every second once, whatever the others read", () => {
    const feed = newFeed();
    const early = feed.watch();
    const seconds = (watch: typeof early, now: number) => watch(at(now), IDLE).points.map(({ second }) => second);
    expect(seconds(early, 2.5)).toEqual([0, 1]);
    expect(seconds(early, 2.9)).toEqual([]);
    expect(seconds(feed.watch(), 3.1)).toEqual([0, 1, 2]);
    expect(seconds(early, 4)).toEqual([2, 3]);
  });

  it("fills silent seconds with empty points that keep the KV use", () => {
    const feed = newFeed();
    feed.record(step([draft(0, 0)]), at(0));
    const points = feed.watch()(at(3), IDLE).points;
    expect(points.map(({ steps, kvUsage }) => [steps, kvUsage])).toEqual([
      [1, 0.25],
      [0, 0.25],
      [0, 0.25],
    ]);
  });

  it("keeps a bounded history, after a long silence too", () => {
    const feed = newFeed();
    const watch = feed.watch();
    watch(at(10), IDLE);
    const week = 7 * 86_400;
    const points = watch(at(week), IDLE).points;
    expect(points).toHaveLength(HISTORY_S);
    expect(points.at(0)?.second).toBe(week - HISTORY_S);
    expect(points.at(-1)?.second).toBe(week - 1);
    points.slice(1).forEach((point, i) => {
      expect(point.second).toBe((points[i]?.second ?? 0) + 1);
    });
  });

  it("keeps a time that was counted in the second in progress when the clock gives an earlier one", () => {
    const feed = newFeed();
    feed.record(step([draft(0, 0)]), at(2.5));
    feed.record(step([draft(0, 0)]), at(1.5));
    expect(
      feed
        .watch()(at(3), IDLE)
        .points.map(({ steps }) => steps),
    ).toEqual([0, 0, 2]);
  });
});

describe("totals and load", () => {
  it("counts since start and passes the load on", () => {
    const feed = newFeed();
    for (let i = 0; i < 3; i++) feed.record(step([draft(5, 2)]), at(i * 1000));
    const load = { numRunning: 4, numWaiting: 5, kvUsage: 0.5 };
    const snapshot = feed.watch()(at(3000), load);
    expect(snapshot.totals).toEqual({ tokens: 9, draftTokens: 15, acceptedTokens: 6 });
    expect(snapshot.load).toEqual(load);
    expect(snapshot.uptimeMs).toBe(3_000_000);
  });
});

describe("acceptance by depth", () => {
  const depthOf = (feed: DashboardFeed) => feed.watch()(at(0), IDLE).depth;

  it("counts how many drafts reached each depth that there is; steps without a draft do not count", () => {
    const feed = newFeed();
    feed.record(step([draft(4, 3), draft(4, 1), draft(4, 0), draft(0, 0)]), at(0));
    expect(depthOf(feed)).toEqual({ drafts: 3, reached: [2, 1, 1, 0] });
  });

  it("forgets all but the latest drafts", () => {
    const feed = newFeed();
    for (let i = 0; i < 10; i++) feed.record(step([draft(4, 4)]), at(0));
    for (let i = 0; i < RECENT_DRAFTS - 1; i++) feed.record(step([draft(4, 1)]), at(0));
    expect(depthOf(feed)).toEqual({ drafts: RECENT_DRAFTS, reached: [RECENT_DRAFTS, 1, 1, 1] });
  });
});

describe("tree", () => {
  it("is decoded, and given to each watcher once", () => {
    const feed = newFeed();
    const watch = feed.watch();
    expect(watch(at(0), IDLE).tree).toBeUndefined();
    feed.record(step([draft(2, 1, TREE)]), at(0));
    const expected = {
      sequenceId: "a/0",
      nodes: [
        { text: "<7>", parent: -1, accepted: true, prob: 1 },
        { text: "<8>", parent: 0, accepted: true, prob: 0.75 },
        { text: "<9>", parent: 0, accepted: false, prob: 0.25 },
      ],
      bonusText: "<10>",
    };
    expect(watch(at(0), IDLE).tree).toEqual(expected);
    expect(watch(at(0), IDLE).tree).toBeUndefined();
    expect(feed.watch()(at(0), IDLE).tree).toEqual(expected);
  });

  it("is not there where it is not to be shown", () => {
    const feed = new DashboardFeed(START_MS, TREE_DEPTH);
    feed.record(step([draft(2, 1, TREE)]), at(0));
    const { tree, totals } = feed.watch()(at(0), IDLE);
    expect(tree).toBeUndefined();
    expect(totals.draftTokens).toBe(2);
  });

  it("is the last one that has more than its root", () => {
    const feed = newFeed();
    const root = { tokenIds: [1], parents: [-1], accepted: [true], probs: [1], bonusTokenId: 2 };
    feed.record(step([draft(2, 1, { ...TREE, bonusTokenId: 11 })]), at(0));
    feed.record(step([draft(2, 1, { ...TREE, bonusTokenId: 12 })]), at(0));
    feed.record(step([draft(0, 0, root)]), at(0));
    expect(feed.watch()(at(0), IDLE).tree?.bonusText).toBe("<12>");
  });
});
