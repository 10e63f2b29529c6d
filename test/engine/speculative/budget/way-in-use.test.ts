import { describe, expect, test } from "vitest";
import { WayInUse } from "../../../../engine/speculative/budget/way-in-use.ts";
import { NO_TREES } from "../../../../scheduler/output.ts";

const TREES = { numLookaheadNodes: 3, maxDraftDepth: 2 };
const DEEPER = { numLookaheadNodes: 3, maxDraftDepth: 3 };
const NUM_TELLING = 8;

function inUse(limits = TREES, load = 2): WayInUse {
  const way = new WayInUse(NUM_TELLING);
  way.choose(NO_TREES, load);
  way.choose(limits, load);
  return way;
}

describe("the way in use", () => {
  test("has shown what it takes after so many steps of its own, and then is to be decided anew", () => {
    const way = inUse();
    for (let i = 1; i < NUM_TELLING; i++) {
      way.observe(TREES, 1);
      way.observe(DEEPER, 1);
      expect(way.isSeen).toBe(false);
    }
    expect(way.stands(2)).toBe(true);
    way.observe(TREES, 1);
    expect([way.isSeen, way.isJustSeen, way.stands(2)]).toEqual([true, true, false]);
    way.choose(TREES, 2);
    way.observe(TREES, 1);
    expect([way.isSeen, way.isJustSeen, way.stands(2)]).toEqual([true, false, true]);
  });

  test("another way, or another load, has shown nothing yet", () => {
    for (const [limits, load] of [
      [DEEPER, 2],
      [TREES, 3],
    ] as const) {
      const way = inUse();
      for (let i = 0; i < NUM_TELLING; i++) way.observe(TREES, 1);
      way.choose(limits, load);
      expect(way.isSeen).toBe(false);
    }
  });

  test("plain steps before anything was chosen count", () => {
    const way = new WayInUse(NUM_TELLING);
    for (let i = 0; i < NUM_TELLING; i++) way.observe(NO_TREES, 1);
    expect([way.isFor(0), way.stands(0)]).toEqual([false, false]);
    way.choose(NO_TREES, 0);
    expect([way.isFor(0), way.isSeen]).toEqual([true, true]);
  });

  test("has to be seen again after a look at another way", () => {
    const way = inUse();
    for (let i = 0; i < NUM_TELLING; i++) way.observe(TREES, 1);
    way.observe(DEEPER, 1);
    way.endLook();
    way.choose(TREES, 2);
    expect(way.isSeen).toBe(false);
    for (let i = 0; i < NUM_TELLING; i++) way.observe(TREES, 1);
    expect(way.isSeen).toBe(true);
  });

  test("stands for a tenth of a second, for its load, until it is told not to", () => {
    const way = inUse();
    way.observe(DEEPER, 99);
    expect([way.stands(2), way.stands(3)]).toEqual([true, false]);
    way.observe(DEEPER, 1);
    expect(way.stands(2)).toBe(false);
    way.choose(TREES, 2);
    way.endLook();
    expect(way.stands(2)).toBe(false);
  });
});
