import { expect, test } from "vitest";
import { addStep, addTotals, kindOf, NO_STEPS } from "../../bench/step-kinds.ts";
import type { StepStats } from "../../engine/client.ts";

const STEP: StepStats = {
  ...{ numRunning: 2, numWaiting: 0, kvUsage: 0, numPrefillTokens: 0, numPrefixQueryTokens: 0, numPrefixHitTokens: 0 },
  ...{
    numRows: 2,
    numEmittedTokens: 2,
    numPreemptions: 0,
    draftMs: 0,
    verifyMs: 1,
    commitMs: 0,
    stepMs: 3,
    sequences: [],
  },
};
const PLAIN = { ...STEP, sequences: [{ id: "a", numDraft: 0, numAccepted: 0 }] };
const DRAFT = { ...STEP, stepMs: 5, numEmittedTokens: 6, sequences: [{ id: "a", numDraft: 4, numAccepted: 3 }] };
const PROMPT = { ...DRAFT, stepMs: 11, numPrefillTokens: 40 };

test("a step that computes a prompt is one with prompts, whatever it drafts", () => {
  expect([PLAIN, DRAFT, PROMPT].map(kindOf)).toEqual(["plain", "draft", "prompt"]);
});

test("times and tokens are summed by kind, of steps and of turns", () => {
  const one = [PLAIN, DRAFT, PLAIN].reduce(addStep, NO_STEPS);
  const other = [PROMPT, PLAIN].reduce(addStep, NO_STEPS);
  expect(addTotals(one, other)).toEqual({
    prompt: { numSteps: 1, ms: 11, numTokens: 6 },
    draft: { numSteps: 1, ms: 5, numTokens: 6 },
    plain: { numSteps: 3, ms: 9, numTokens: 6 },
  });
});
