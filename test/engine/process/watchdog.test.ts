import { describe, expect, it } from "vitest";
import { Breaker } from "../../../engine/process/breaker.ts";
import { Watchdog } from "../../../engine/process/watchdog.ts";

const TIMES = { intervalMs: 1_000, minSilenceMs: 10_000, stepFactor: 20 };

/** Looks every interval from the first on, as long as `alive` says nothing else, and gives the time of the first verdict. */
function firstVerdict(dog: Watchdog, untilMs: number, hasWork: boolean, at: (ms: number) => void = () => {}) {
  for (let ms = TIMES.intervalMs; ms <= untilMs; ms += TIMES.intervalMs) {
    at(ms);
    const reason = dog.look(ms, hasWork);
    if (reason !== undefined) return { ms, reason };
  }
  return undefined;
}

describe("watchdog", () => {
  it("finds a process that answers nothing, with work or without", () => {
    for (const hasWork of [true, false]) {
      expect(firstVerdict(new Watchdog(TIMES, 0), 60_000, hasWork)).toMatchObject({
        ...{ ms: 11_000, reason: expect.stringMatching(/answered nothing for 10.0 s/) },
      });
    }
  });

  it("finds an engine that has work and takes no step, though its process answers; without work it may rest", () => {
    const [busy, idle] = [new Watchdog(TIMES, 0), new Watchdog(TIMES, 0)];
    expect(firstVerdict(busy, 60_000, true, (ms) => busy.heard(ms))).toMatchObject({
      ...{ ms: 11_000, reason: expect.stringMatching(/no step .* 10.0 s/) },
    });
    expect(firstVerdict(idle, 60_000, false, (ms) => idle.heard(ms))).toBeUndefined();
    idle.began(60_000);
    expect(idle.look(61_000, true)).toBeUndefined();
  });

  it("waits as long as a slow engine's steps ask for, and less again when they were short for a while", () => {
    const dog = new Watchdog(TIMES, 0);
    dog.stepped(0, 4_000);
    expect(dog.silenceMs).toBe(80_000);
    expect(firstVerdict(dog, 79_000, true, (ms) => dog.heard(ms))).toBeUndefined();
    for (let step = 0; step < 500; step++) dog.stepped(79_000, 5);
    expect(dog.silenceMs).toBe(10_000);
  });

  it("does not count time in which its own process stood still", () => {
    const dog = new Watchdog(TIMES, 0);
    expect(dog.look(1_000, true)).toBeUndefined();
    expect(dog.look(60_000, true)).toBeUndefined();
    expect(dog.look(61_000, true)).toBeUndefined();
  });
});

describe("breaker", () => {
  it("opens at the third failure within its window", () => {
    const breaker = new Breaker({ maxFailures: 3, windowMs: 60_000 });
    expect([0, 59_000, 60_000, 118_000].map((ms) => breaker.record(ms))).toEqual([false, false, false, true]);
  });
});
