import { expect, test } from "vitest";
import { countStep, kindOf, noSteps, totalsOf } from "../../bench/step-kinds.ts";

const PLAIN = {
  ...{ numPrefillTokens: 0, stepMs: 3, numEmittedTokens: 2 },
  sequences: [{ id: "a", numDraft: 0, numAccepted: 0 }],
};
const DRAFT = { ...PLAIN, stepMs: 5, numEmittedTokens: 6, sequences: [{ id: "a", numDraft: 4, numAccepted: 3 }] };
const PROMPT = { ...DRAFT, stepMs: 11, numPrefillTokens: 40 };

test("a step that computes a prompt is one with prompts, whatever it drafts", () => {
  expect([PLAIN, DRAFT, PROMPT].map(kindOf)).toEqual(["plain", "draft", "prompt"]);
});

test("times and tokens are summed by kind, of steps and of turns", () => {
  const [one, other] = [noSteps(), noSteps()];
  for (const step of [PLAIN, DRAFT, PLAIN]) countStep(one, step);
  for (const step of [PROMPT, PLAIN]) countStep(other, step);
  expect(totalsOf([one, other])).toEqual({
    prompt: { numSteps: 1, ms: 11, numTokens: 6 },
    draft: { numSteps: 1, ms: 5, numTokens: 6 },
    plain: { numSteps: 3, ms: 9, numTokens: 6 },
  });
});
