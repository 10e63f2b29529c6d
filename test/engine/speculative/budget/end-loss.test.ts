import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { EndLoss } from "../../../../engine/speculative/budget/end-loss.ts";
import type { Forecast } from "../../../../engine/speculative/budget/size-choice.ts";
import { NO_TREES } from "../../../../scheduler/output.ts";
import { Random } from "../../../support/random.ts";

const STEP = {
  ...{ context: 100, numRows: 4, limits: NO_TREES, drafts: [], onDevice: true, isSteady: true, isLast: false },
  ...{ hasPrompt: false, catchesUp: false, stepMs: 30, draftMs: 0 },
};

const NUM_STEPS = 4000;

interface Batch {
  readonly numLanes: number;
  /** Of a sequence. */
  readonly numTokens: number;
  readonly stepMs: number;
  /** Chance that the one draft token of a tree is accepted; 0 is plain decoding. */
  readonly accepted: number;
  /** Steps that lanes idle before newcomers come in. */
  readonly numIdleSteps: number;
}

function forecastOf({ numLanes, stepMs, accepted }: Batch): Forecast {
  return { limits: NO_TREES, rate: (numLanes * (1 + accepted)) / stepMs, stepMs, numAccepted: accepted };
}

/** @returns ms that a token took, and what ends add to that by steps of these kinds, on average */
function run({ numLanes, numTokens, stepMs, accepted, numIdleSteps }: Batch, ...kinds: readonly Forecast[]) {
  const [loss, random] = [new EndLoss(), new Random(numLanes)];
  const lanes = Array.from({ length: numLanes }, () => ({ left: random.int(1, numTokens), idle: 0 }));
  const lost = kinds.map(() => 0);
  let total = 0;
  for (let step = 0; step < NUM_STEPS; step++) {
    const running = lanes.filter(({ left }) => left > 0);
    let numEmitted = 0;
    for (const lane of running) {
      const drawn = random.next() < accepted ? 2 : 1;
      numEmitted += Math.min(drawn, lane.left);
      lane.left -= drawn;
    }
    for (const lane of lanes) if (lane.left <= 0) lane.idle++;
    // Newcomers take all places when the first has been free for so long.
    if (lanes.some(({ idle }) => idle > numIdleSteps)) {
      for (const lane of lanes) if (lane.left <= 0) [lane.left, lane.idle] = [numTokens, 0];
    }
    total += numEmitted;
    loss.observe({ ...STEP, numLanes, numSequences: running.length, numEmitted });
    for (const [i, kind] of kinds.entries()) lost[i] = (lost[i] ?? 0) + loss.msPerToken(numLanes, kind) / NUM_STEPS;
  }
  return { tokenMs: (NUM_STEPS * stepMs) / total, lost };
}

describe("EndLoss", () => {
  test("is what a token takes more than in steady steps, whatever the batch and its steps", () => {
    const batches = fc.record({
      numLanes: fc.integer({ min: 1, max: 16 }),
      numTokens: fc.integer({ min: 30, max: 100 }),
      stepMs: fc.double({ min: 1, max: 100, noNaN: true }),
      accepted: fc.constantFrom(0, 0.3, 0.7, 1),
      numIdleSteps: fc.constantFrom(1, 2),
    });
    fc.assert(
      fc.property(batches, (batch) => {
        const steady = forecastOf(batch);
        const { tokenMs, lost } = run(batch, steady);
        expect(Math.abs((1 / steady.rate + (lost[0] ?? 0)) / tokenMs - 1)).toBeLessThan(0.02);
      }),
      { numRuns: 60 },
    );
  });

  test("what was seen of one way to decode counts for the other: longer steps lose more", () => {
    const batch = { numLanes: 1, numTokens: 60, numIdleSteps: 2 };
    const [plain, trees] = [
      { ...batch, stepMs: 30, accepted: 0 },
      { ...batch, stepMs: 51, accepted: 0.7 },
    ];
    const kinds = [forecastOf(plain), forecastOf(trees)];
    for (const { lost } of [run(plain, ...kinds), run(trees, ...kinds)]) {
      // Idle steps, and half a draft token of those that have one accepted.
      for (const [i, expectedMs] of [(2 * 30) / 60, (2 * 51 + 0.35 * 30) / 60].entries())
        expect(Math.abs((lost[i] ?? 0) / expectedMs - 1)).toBeLessThan(0.05);
    }
  });

  test("lanes that wait longer wait for a time, and not for steps: only the first two count", () => {
    const batch = { numLanes: 16, numTokens: 60, stepMs: 30, accepted: 0 };
    const [usual = 0, waiting = 0] = [2, 12].map((numIdleSteps) => {
      const { lost } = run({ ...batch, numIdleSteps }, forecastOf({ ...batch, numIdleSteps }));
      return lost[0];
    });
    expect(Math.abs(waiting / usual - 1)).toBeLessThan(0.03);
  });

  test("is nothing where no sequence ended", () => {
    const loss = new EndLoss();
    const forecast = { limits: NO_TREES, rate: 0.1, stepMs: 40, numAccepted: 0.5 };
    expect(loss.msPerToken(4, forecast)).toBe(0);
    for (let i = 0; i < 9; i++) loss.observe({ ...STEP, numLanes: 4, numSequences: 4, numEmitted: 4 });
    // A prompt in two parts.
    for (const numSequences of [3, 4])
      loss.observe({ ...STEP, onDevice: false, hasPrompt: true, numLanes: 4, numSequences, numEmitted: numSequences });
    expect(loss.msPerToken(4, forecast)).toBe(0);
  });
});
