import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { Scheduler, type SchedulerOptions } from "../../scheduler/scheduler.ts";
import type { Sequence, SequenceRequest } from "../../scheduler/sequence.ts";
import { Streams } from "./streams.ts";

const MAX_PROMPT = 40;
const MAX_TOKENS = 30;

const crowd = fc.record({
  maxNumSeqs: fc.integer({ min: 1, max: 6 }),
  numExtraRows: fc.integer({ min: 0, max: 40 }),
  maxTreeNodes: fc.integer({ min: 1, max: 4 }),
  numPromptTokens: fc.integer({ min: 1, max: MAX_PROMPT }),
  maxTokens: fc.integer({ min: 1, max: MAX_TOKENS }),
  /** Sequences that the second caller has waiting for each of the first's, at most. */
  ratio: fc.integer({ min: 2, max: 10 }),
  lateAfter: fc.integer({ min: 0, max: 150 }),
});

/**
 * Two callers with more than can be served, a third one later: from then on, as long as someone of each waits, no two may have been
 * served more tokens apart than their batches hold (theorem 4.4 of arXiv 2401.00588, with what is charged ahead of its computing).
 */
function servesAlike(createScheduler?: (options: SchedulerOptions) => Scheduler) {
  return fc.property(crowd, ({ maxNumSeqs, numExtraRows, maxTreeNodes, ratio, lateAfter, ...sizes }) => {
    const tokenBudget = maxNumSeqs + numExtraRows;
    const streams = new Streams({
      ...{ maxNumSeqs, tokenBudget, maxTreeNodes, numBlocks: 100 },
      ...(createScheduler ? { createScheduler } : {}),
    });
    const add = (caller: string, num: number, scale = 1) => {
      const numPromptTokens = Math.ceil(sizes.numPromptTokens * scale);
      for (let i = 0; i < num; i++) streams.add({ ...sizes, numPromptTokens, caller });
    };
    const perSequence = sizes.numPromptTokens + sizes.maxTokens;
    const numEach = 20 * maxNumSeqs;
    add("flood", ratio * numEach);
    add("steady", numEach, 0.5);
    const bound = 4 * maxNumSeqs * perSequence;
    let callers = ["flood", "steady"];
    let start = new Map(streams.served);
    for (let step = 0; step < 300; step++) {
      if (step === lateAfter) {
        add("late", numEach);
        callers = ["flood", "steady", "late"];
        start = new Map(streams.served);
      }
      streams.step();
      const backlogged = streams.backlogged();
      if (!callers.every((caller) => backlogged.has(caller))) break;
      if (step % 50 === 0) streams.scheduler.checkIntegrity();
      const served = callers.map((caller) => (streams.served.get(caller) ?? 0) - (start.get(caller) ?? 0));
      expect(Math.max(...served) - Math.min(...served)).toBeLessThanOrEqual(bound);
    }
  });
}

class CallerBlindScheduler extends Scheduler {
  override add(request: SequenceRequest): Sequence {
    return super.add({ ...request, caller: "" });
  }
}

/** Who splits its work into many requests gets the more. */
class SplittableScheduler extends Scheduler {
  override add(request: SequenceRequest): Sequence {
    return super.add({ ...request, caller: request.id });
  }
}

describe("callers of one priority", () => {
  test("are served alike, however much each of them asks for, and whenever it came", () => {
    fc.assert(servesAlike(), { numRuns: 60 });
  });

  test.each([
    ["callers are not told apart", (options: SchedulerOptions) => new CallerBlindScheduler(options)],
    ["every sequence counts as a caller", (options: SchedulerOptions) => new SplittableScheduler(options)],
  ])("a seeded bug is noticed: %s", (_, create) => {
    expect(fc.check(servesAlike(create), { numRuns: 60, endOnFailure: true }).failed).toBe(true);
  });

  test("one that was idle has no claim on the time in which it asked for nothing", () => {
    const streams = new Streams({ maxNumSeqs: 1, tokenBudget: 32, maxTreeNodes: 1, numBlocks: 10 });
    const size = { numPromptTokens: 4, maxTokens: 6 };
    streams.add({ ...size, caller: "b" });
    for (let i = 0; i < 60; i++) streams.add({ ...size, caller: "a" });
    for (let step = 0; step < 200; step++) streams.step();
    const before = new Map(streams.served);
    for (let i = 0; i < 20; i++) streams.add({ ...size, caller: "b" });
    for (let step = 0; step < 60; step++) streams.step();
    const since = (caller: string) => (streams.served.get(caller) ?? 0) - (before.get(caller) ?? 0);
    expect(Math.abs(since("a") - since("b"))).toBeLessThanOrEqual(2 * (4 + 6));
  });
});

describe("a long prompt beside streams", () => {
  const beside = fc.record({
    numStreams: fc.integer({ min: 1, max: 7 }),
    numExtraRows: fc.integer({ min: 1, max: 248 }),
    maxTreeNodes: fc.integer({ min: 1, max: 8 }),
  });

  test("every stream decodes in every step, with rows for its drafts, and the prompt is read as fast as that allows", () => {
    fc.assert(
      fc.property(beside, ({ numStreams, numExtraRows, maxTreeNodes }) => {
        const tokenBudget = 8 + numExtraRows;
        const streams = new Streams({ maxNumSeqs: 8, tokenBudget, maxTreeNodes, numBlocks: 4000 });
        const running = Array.from({ length: numStreams }, () => streams.add({ numPromptTokens: 1, maxTokens: 9_000 }));
        streams.step();
        const prompt = streams.add({ numPromptTokens: 2048, maxTokens: 1 });
        const mostRows = Math.min(tokenBudget - numStreams, Math.ceil(tokenBudget / 2));
        const numSteps = Math.ceil(2048 / mostRows);
        for (let step = 0; step < numSteps; step++) {
          const before = running.map(({ numTokens }) => numTokens);
          const plan = streams.step();
          for (const [i, { numTokens }] of running.entries()) expect(numTokens).toBeGreaterThan(before[i] ?? 0);
          const ofPrompt = plan.sequences.find(({ sequence }) => sequence === prompt);
          expect(ofPrompt?.numTokens).toBe(Math.min(mostRows, 2048 - step * mostRows));
          const wanted = numStreams * (maxTreeNodes - 1);
          const numLeft = tokenBudget - numStreams - (ofPrompt?.numTokens ?? 0);
          expect(plan.numLookaheadNodes).toBe(Math.min(wanted, numLeft));
          expect(plan.numTokens + plan.numLookaheadNodes).toBeLessThanOrEqual(tokenBudget);
        }
        expect(prompt.status).toBe("finished");
      }),
      { numRuns: 50 },
    );
  });

  test("several prompts share what there is for prompts, and are read one after the other", () => {
    const streams = new Streams({ maxNumSeqs: 4, tokenBudget: 64, maxTreeNodes: 1, numBlocks: 100 });
    streams.add({ numPromptTokens: 1, maxTokens: 9_000 });
    streams.step();
    const prompts = [1, 2, 3].map(() => streams.add({ numPromptTokens: 64, maxTokens: 1 }));
    const ends: number[] = [];
    for (let step = 1; ends.length < 3; step++) {
      expect(streams.step().numTokens).toBeLessThanOrEqual(1 + 32);
      for (const { status } of prompts.slice(ends.length, ends.length + 1)) if (status === "finished") ends.push(step);
    }
    expect(ends).toEqual([2, 4, 6]);
  });
});
