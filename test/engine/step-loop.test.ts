import { setTimeout } from "node:timers/promises";
import { expect, test, vi } from "vitest";
import { StepLoop } from "../../engine/step-loop.ts";

const settled = () => Promise.resolve();

/** A loop with so many steps to take, each of which takes a turn of the event loop. */
function loopOf(numSteps: number) {
  const state = { numLeft: numSteps, numDone: 0, failures: [] as unknown[] };
  const loop = new StepLoop({
    hasWork: () => state.numLeft > 0,
    step: async () => {
      state.numLeft--;
      await setTimeout(0);
      state.numDone++;
    },
    settled,
    fail: (error) => state.failures.push(error),
  });
  return { state, loop };
}

test("takes all steps, also those that come when it had ended", async () => {
  const { state, loop } = loopOf(3);
  loop.start();
  await loop.end();
  expect(state.numDone).toBe(3);
  state.numLeft = 2;
  loop.start();
  await loop.end();
  expect(state).toEqual({ numLeft: 0, numDone: 5, failures: [] });
});

test("a hold lets the step under way end, and no other begins before the release", async () => {
  const { state, loop } = loopOf(100);
  loop.start();
  await vi.waitFor(() => expect(state.numDone).toBeGreaterThan(2));
  await loop.hold();
  const { numDone, numLeft } = state;
  expect(numDone + numLeft).toBe(100);
  await setTimeout(20);
  expect(state).toMatchObject({ numDone, numLeft });
  expect(loop.release()).toBeGreaterThan(15);
  await loop.end();
  expect(state.numDone).toBe(100);
});

test("what is there before the first step waits too, and a hold right after a release holds", async () => {
  const { state, loop } = loopOf(2);
  await loop.hold();
  loop.start();
  await setTimeout(5);
  expect(state.numDone).toBe(0);
  loop.release();
  await loop.hold();
  const { numDone } = state;
  await setTimeout(5);
  expect(state.numDone).toBe(numDone);
  await loop.end();
  expect(state.numDone).toBe(2);
});

test("a step that throws is told, and ends the loop; a hold does not throw it", async () => {
  const failures: unknown[] = [];
  const error = new Error("broken");
  const loop = new StepLoop({
    hasWork: () => true,
    step: () => Promise.reject(error),
    settled,
    fail: (told) => failures.push(told),
  });
  loop.start();
  await loop.hold();
  await loop.end();
  expect(failures).toEqual([error]);
});

test("a release without a hold takes no time", () => {
  expect(loopOf(0).loop.release()).toBe(0);
});
