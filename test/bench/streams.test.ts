import fc from "fast-check";
import { expect, test } from "vitest";
import { referencePrompts } from "../../bench/prompts.ts";
import { SharedTarget } from "../../bench/shared-target.ts";
import { Streams, textLength } from "../../bench/streams.ts";
import { GREEDY } from "../../engine/sampling-params.ts";
import { ADAPTER } from "../support/gpu.ts";

test("texts have every length from half of the most tokens to all of them, about as often", () => {
  fc.assert(
    fc.property(fc.integer({ min: 1, max: 600 }), fc.nat({ max: 100_000 }), (maxTokens, first) => {
      const numLengths = maxTokens - Math.ceil(maxTokens / 2) + 1;
      const lengths = Array.from({ length: numLengths }, (_, i) => textLength(first + i, maxTokens));
      expect(Math.min(...lengths)).toBe(Math.ceil(maxTokens / 2));
      expect(Math.max(...lengths)).toBe(maxTokens);
      expect(new Set(lengths).size).toBe(numLengths);
    }),
  );
});

test("turns go on where the one before stopped, on two engines one after the other", async () => {
  const [numStreams, maxTokens, numTurns] = [2, 48, 6];
  const prompts = referencePrompts().map(({ promptTokens }) => promptTokens.slice(0, 16));
  const target = await SharedTarget.open("sapling-14m", 64, ADAPTER);
  const engines = [
    await target.createEngine({ maxNumSeqs: numStreams, drafter: "none" }),
    await target.createEngine({ maxNumSeqs: numStreams, drafter: "glide", treeNodes: 2, treeBudget: "fixed" }),
  ];
  const all = await Promise.all(
    engines.map((engine) => Streams.open(engine, { numStreams, prompts, params: { ...GREEDY, maxTokens } })),
  );
  for (const [i, streams] of all.entries()) {
    let [numTokens, numPromptSteps] = [0, 0];
    for (let turn = 0; turn < numTurns; turn++) {
      const had = await streams.turn({ ms: 1 });
      numTokens += had.numTokens;
      numPromptSteps += had.steps.prompt.numSteps;
      expect(had.numDrafted > 0).toBe(i === 1 && had.steps.draft.numSteps > 0);
    }
    expect(numTokens).toBeGreaterThanOrEqual(numTurns);
    expect(streams.numTokens).toBe(numTokens);
    const further = await streams.turn({ numTokens: numTokens + 4 });
    expect(further.numTokens).toBeGreaterThanOrEqual(4);
    expect(await streams.turn({ numTokens: numTokens + 4 })).toMatchObject({ numTokens: 0, numSteps: 0 });
    // A turn that began anew would have its prompts in a first step of its own.
    expect(numPromptSteps).toBeLessThan(numTurns);
    await streams.close();
    expect(engines[i]?.load()).toMatchObject({ numRunning: 0, numWaiting: 0 });
    await engines[i]?.close();
  }
  target.close();
}, 120_000);
