import { expect, it } from "vitest";
import { quietImmediate } from "../../kernels/quiet-wait.ts";

/** Runs callbacks one by one, and notes which of the two ways each came by. */
function fakeLoop() {
  const waiting: (() => void)[] = [];
  const ways: string[] = [];
  return {
    ways,
    waiting,
    setImmediate(callback: (...args: unknown[]) => void, ...args: unknown[]) {
      ways.push("immediate");
      waiting.push(() => callback(...args));
    },
    setTimeout(callback: (...args: unknown[]) => void, ms: number) {
      ways.push(`${ms} ms`);
      waiting.push(callback);
    },
  };
}

/** A function that looks native, as Dawn's does, and queues itself `times` more times. */
function poll(quiet: (callback: () => void) => unknown, times: number): () => void {
  let numLeft = times;
  const self = function (this: unknown) {
    if (numLeft-- > 0) quiet(native);
  };
  const native: () => void = Object.defineProperty(self.bind(undefined), "name", { value: "" });
  return native;
}

it("a poll that goes on is called every millisecond after a few turns at once", () => {
  const loop = fakeLoop();
  const quiet = quietImmediate(loop);
  quiet(poll(quiet, 40));
  while (loop.waiting.length > 0) loop.waiting.shift()?.();
  expect(loop.ways).toEqual([...Array(16).fill("immediate"), ...Array(25).fill("1 ms")]);
});

it("each wait begins with turns at once", () => {
  const loop = fakeLoop();
  const quiet = quietImmediate(loop);
  for (let wait = 0; wait < 5; wait++) {
    quiet(poll(quiet, 10));
    while (loop.waiting.length > 0) loop.waiting.shift()?.();
  }
  expect(loop.ways).toEqual(Array(55).fill("immediate"));
});

it("a poll that throws is the end of its turn", () => {
  const loop = fakeLoop();
  const quiet = quietImmediate(loop);
  const thrower = Object.defineProperty(
    (() => {
      throw new Error("lost");
    }).bind(undefined),
    "name",
    { value: "" },
  );
  for (let wait = 0; wait < 40; wait++) {
    quiet(thrower);
    expect(() => loop.waiting.shift()?.()).toThrow("lost");
  }
  expect(loop.ways).toEqual(Array(40).fill("immediate"));
});

it("other callbacks and their arguments pass as they are", async () => {
  const loop = fakeLoop();
  const quiet = quietImmediate(loop);
  const seen: unknown[] = [];
  for (let i = 0; i < 100; i++) quiet((value) => seen.push(value), i);
  const resolved = new Promise((resolve) => quiet(resolve));
  while (loop.waiting.length > 0) loop.waiting.shift()?.();
  await resolved;
  expect(seen).toEqual(Array.from({ length: 100 }, (_, i) => i));
  expect(loop.ways).toEqual(Array(101).fill("immediate"));
});
