import { expect, it, vi } from "vitest";
import { FixedTrees } from "../../../engine/speculative/budget/tree-policy.ts";
import { useGpu } from "../../support/gpu.ts";
import { TREE_DEPTH } from "./open-engine.ts";
import { expectIdle, usePlainRuns } from "./plain-runs.ts";

const { open, expectPlain } = usePlainRuns(useGpu());

it("the drafter's pass over what a step emitted has rows for what the trees in use can emit, not for the deepest ones", async () => {
  const policy = new FixedTrees({ numLookaheadNodes: 1, maxDraftDepth: 1 });
  const parts = await open({ drafts: true, policy });
  const encodeForward = vi.spyOn(parts.draftRunner ?? expect.fail(), "encodeForward");
  await expectPlain(parts.engine, 0);
  const numRows = encodeForward.mock.calls.map(([, size]) => size.numRows);
  expect(numRows.filter((rows) => rows === 2).length).toBeGreaterThan(5);
  expect(numRows).not.toContain(1 + TREE_DEPTH);
  await expectIdle(parts);
});
