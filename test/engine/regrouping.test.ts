import { describe, expect, test } from "vitest";
import { Regrouping } from "../../engine/regrouping.ts";
import { NO_TREES } from "../../scheduler/output.ts";
import { Random } from "../support/random.ts";

const NUM_LANES = 32;
const STEP_MS = 1.5;
/** Lost by the step with prompts, and by the first step of a run. */
const RESTART_MS = 4;

const base = { context: 100, limits: NO_TREES, isLast: false, catchesUp: false, draftMs: 0, drafts: [] };

interface Outcome {
  /** Of the time in which all lanes would have decoded steadily, what was had. */
  readonly efficiency: number;
  readonly longestWaitMs: number;
  readonly numRestarts: number;
}

/**
 * Lanes end at random, `rate` of them a ms, and for each a newcomer is there at once.
 * @param groups newcomers who come in together; by default as `Regrouping` has it
 */
function serve(rate: number, numSteps: number, seed: number, groups?: number): Outcome {
  const regrouping = new Regrouping();
  const random = new Random(seed);
  let [nowMs, workMs, numRestarts, longestWaitMs, numWaiting, sinceMs] = [1000, 0, 0, 0, 0, 0];
  const observe = (kind: "steady" | "start" | "prompt", stepMs: number, numRunning: number) => {
    const onDevice = kind !== "prompt";
    const numEmitted = kind === "prompt" ? 0 : 3 * numRunning;
    const numRows = numRunning + (onDevice ? 0 : numWaiting);
    regrouping.observe({
      ...{ ...base, numSequences: numRunning, numLanes: numRunning, numRows, numEmitted, onDevice, stepMs },
      ...{ isSteady: kind === "steady", hasPrompt: !onDevice },
    });
    nowMs += stepMs;
  };
  for (let step = 0; step < numSteps; step++) {
    const numRunning = NUM_LANES - numWaiting;
    const holds = regrouping.holds({ count: numWaiting, isUrgent: false }, numRunning, nowMs);
    const goesOn =
      groups === undefined ? holds && regrouping.keepsIdle(numWaiting, NUM_LANES, nowMs) : numWaiting < groups;
    if (numWaiting > 0 && !goesOn) {
      numRestarts++;
      longestWaitMs = Math.max(longestWaitMs, nowMs - sinceMs);
      regrouping.begin(numWaiting, nowMs);
      observe("prompt", RESTART_MS / 2, numRunning);
      numWaiting = 0;
      regrouping.begin(0, nowMs);
      observe("start", STEP_MS + RESTART_MS / 2, NUM_LANES);
      workMs += STEP_MS;
      continue;
    }
    observe("steady", STEP_MS, numRunning);
    workMs += (STEP_MS * numRunning) / NUM_LANES;
    for (let lane = 0; lane < numRunning; lane++) {
      if (random.next() >= rate * STEP_MS) continue;
      if (numWaiting++ === 0) sinceMs = nowMs;
    }
  }
  return { efficiency: workMs / (nowMs - 1000), longestWaitMs, numRestarts };
}

/** After 40 groups of newcomers, 10 ms apart. */
function busy(): Regrouping {
  const regrouping = new Regrouping();
  const steady = {
    ...base,
    numSequences: 32,
    numLanes: 32,
    numRows: 32,
    numEmitted: 96,
    onDevice: true,
    hasPrompt: false,
  };
  for (let group = 0; group < 40; group++) {
    regrouping.begin(6, group * 10);
    regrouping.observe({
      ...steady,
      numRows: 33 + (group % 8),
      numEmitted: 32,
      onDevice: false,
      isSteady: false,
      hasPrompt: true,
      stepMs: 4,
    });
    for (let i = 0; i < 6; i++) regrouping.observe({ ...steady, isSteady: true, stepMs: 1 });
  }
  return regrouping;
}

describe("when newcomers come in", () => {
  // A lane's text takes 500, 50 and 12 ms.
  test.each([0.002, 0.02, 0.08])(
    "%f of a lane's texts end a ms: about as good as the best size of groups, and better than at once",
    (rate) => {
      const own = serve(rate, 20_000, 1);
      const fixed = [1, 2, 3, 4, 6, 8, 12, 16].map((groups) => serve(rate, 20_000, 1, groups).efficiency);
      expect(own.efficiency / Math.max(...fixed)).toBeGreaterThan(0.97);
      if (rate > 0.01) expect(own.efficiency / (fixed[0] ?? 1)).toBeGreaterThan(1.1);
      expect(own.longestWaitMs).toBeLessThan(20 + STEP_MS + RESTART_MS);
    },
  );

  test("a lone newcomer waits for nobody", () => {
    const { numRestarts, longestWaitMs } = serve(0.0001, 20_000, 2);
    expect(numRestarts).toBeGreaterThan(20);
    expect(longestWaitMs).toBeLessThan(2 * STEP_MS);
  });

  test("who is more important than one that runs does not wait; who came just now does, among many", () => {
    const regrouping = busy();
    expect(regrouping.holds({ count: 1, isUrgent: false }, 31, 400)).toBe(true);
    expect(regrouping.holds({ count: 1, isUrgent: true }, 31, 400)).toBe(false);
    expect(regrouping.holds({ count: 31, isUrgent: false }, 31, 401)).toBe(false);
    expect(regrouping.holds({ count: 1, isUrgent: false }, 31, 421)).toBe(false);
    expect(regrouping.holds({ count: 0, isUrgent: false }, 32, 422)).toBe(true);
    expect(regrouping.holds({ count: 1, isUrgent: false }, 31, 430)).toBe(true);
  });

  test("nobody waits while nothing is done", () => {
    const regrouping = busy();
    const alone = { count: 1, isUrgent: false };
    expect(regrouping.holds(alone, 31, 400)).toBe(true);
    regrouping.skip(1000);
    expect(regrouping.holds(alone, 31, 1419)).toBe(true);
    expect(regrouping.holds(alone, 31, 1421)).toBe(false);
  });

  test("where the cache has no room, a run goes on until someone ends, but for the more important", () => {
    const regrouping = new Regrouping();
    const alone = { count: 1, isUrgent: false };
    expect(regrouping.holds(alone, 8, 0)).toBe(false);
    regrouping.begin(0, 0, 8);
    expect(regrouping.holds(alone, 8, 1)).toBe(true);
    expect(regrouping.holds(alone, 8, 500)).toBe(true);
    expect(regrouping.holds({ count: 1, isUrgent: true }, 8, 501)).toBe(false);
    expect(regrouping.holds(alone, 7, 502)).toBe(false);
    regrouping.begin(0, 503);
    expect(regrouping.holds(alone, 8, 504)).toBe(false);
  });

  test("a step that is no continuation lets everyone in who is there, unless others came in with the one before", () => {
    const regrouping = busy();
    const alone = { count: 1, isUrgent: false };
    expect(regrouping.holdsAtStart(alone, 31, 400)).toBe(true);
    regrouping.begin(0, 401);
    expect(regrouping.holds(alone, 31, 401)).toBe(true);
    expect(regrouping.holdsAtStart(alone, 31, 402)).toBe(false);
  });

  test("idle lanes stay until they have cost what a restart does; at once they go where that is not known", () => {
    const regrouping = new Regrouping();
    regrouping.begin(0, 0);
    expect(regrouping.keepsIdle(0, 32, 1)).toBe(true);
    expect(regrouping.keepsIdle(1, 32, 2)).toBe(false);
    const step = { ...base, numSequences: 32, numLanes: 32, numRows: 32, numEmitted: 32, hasPrompt: false };
    for (let run = 0; run < 200; run++) {
      regrouping.observe({ ...step, onDevice: true, isSteady: false, stepMs: 5 });
      for (let i = 0; i < 4; i++) regrouping.observe({ ...step, onDevice: true, isSteady: true, stepMs: 1 });
    }
    // 4 ms: half of the lanes idle for 8.
    regrouping.begin(0, 100);
    expect(regrouping.keepsIdle(16, 32, 107)).toBe(true);
    // No lane idles while nothing is done.
    regrouping.skip(1000);
    expect(regrouping.keepsIdle(16, 32, 1107)).toBe(true);
    expect(regrouping.keepsIdle(16, 32, 1109)).toBe(false);
  });
});
