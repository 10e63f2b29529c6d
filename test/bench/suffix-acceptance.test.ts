import { expect, it } from "vitest";
import { suffixAcceptance } from "../../bench/suffix-acceptance.ts";
import { COPY_EDITING, MULTI_TURN } from "../../bench/suffix-texts.ts";
import { TEXT } from "../support/test-app.ts";

const LIMITS = { maxNodes: 16, maxDepth: 12 };

it.each([
  ["copy-editing", COPY_EDITING],
  ["several turns", MULTI_TURN],
])("drafts by look-up bring three tokens a step and more: %s", async (_, exchanges) => {
  const { acceptanceLength, numTokens, numSteps } = await suffixAcceptance(TEXT, exchanges, LIMITS);
  expect(numTokens).toBeGreaterThan(300);
  expect(acceptanceLength).toBe(numTokens / numSteps);
  expect(acceptanceLength).toBeGreaterThanOrEqual(3);
});

it("without drafts a step brings one token", async () => {
  const { acceptanceLength } = await suffixAcceptance(TEXT, COPY_EDITING, { maxNodes: 1, maxDepth: 0 });
  expect(acceptanceLength).toBe(1);
});
