import { expect, it } from "vitest";
import { FixedTrees, type ObservedStep } from "../../../engine/speculative/budget/tree-policy.ts";
import { useGpu } from "../../support/gpu.ts";
import { TREE_DEPTH, TREE_NODES } from "./open-engine.ts";
import { usePlainRuns } from "./plain-runs.ts";

const { open, expectPlain } = usePlainRuns(useGpu());

/** Trees of full size, and what was told of their steps. */
class WatchedTrees extends FixedTrees {
  readonly steps: ObservedStep[] = [];

  override observe(step: ObservedStep): void {
    this.steps.push(step);
  }
}

it.each([
  { stepsInFlight: 2, tellsLast: true },
  { stepsInFlight: 1, tellsLast: false },
])(
  "$stepsInFlight in flight: a run's last step, which nothing overlaps, is told from the others where they overlap",
  async ({ stepsInFlight, tellsLast }) => {
    const policy = new WatchedTrees({ numLookaheadNodes: TREE_NODES - 1, maxDraftDepth: TREE_DEPTH });
    const { engine } = await open({ drafts: true, policy, stepsInFlight });
    for (const i of [0, 1]) await expectPlain(engine, i);
    const isLast = policy.steps.map(
      ({ onDevice }, i) => tellsLast && onDevice && !(policy.steps[i + 1]?.onDevice ?? false),
    );
    expect(policy.steps.map((step) => step.isLast)).toEqual(isLast);
    expect(isLast.filter(Boolean)).toHaveLength(tellsLast ? 2 : 0);
    expect(policy.steps.filter(({ onDevice }) => onDevice).length).toBeGreaterThan(6);
  },
);
