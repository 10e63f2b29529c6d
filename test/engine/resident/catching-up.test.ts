import { describe, expect, it, vi } from "vitest";
import { FixedTrees, type ObservedStep } from "../../../engine/speculative/budget/tree-policy.ts";
import { ModelProposer } from "../../../engine/speculative/model-proposer.ts";
import { NO_TREES, type TreeLimits } from "../../../scheduler/output.ts";
import { useGpu } from "../../support/gpu.ts";
import { TREE_DEPTH, TREE_NODES } from "./open-engine.ts";
import { expectIdle, usePlainRuns } from "./plain-runs.ts";

const test = useGpu();
const { open, expectPlain } = usePlainRuns(test);

/** Plain decoding at first, then trees. */
class LateTrees extends FixedTrees {
  readonly #numPlain: number;
  /** What ran since then: h for the host's steps, d for the device's; upper case where trees were verified. */
  steps = "";
  #numSteps = 0;

  constructor(numPlain: number) {
    super({ numLookaheadNodes: TREE_NODES - 1, maxDraftDepth: TREE_DEPTH });
    this.#numPlain = numPlain;
  }

  override limits(): TreeLimits {
    return this.#isEarly ? NO_TREES : super.limits();
  }

  override goesOn(limits?: TreeLimits): boolean {
    return this.#isEarly || limits?.numLookaheadNodes !== 0;
  }

  override observe(step: ObservedStep): void {
    if (!this.#isEarly) this.steps += this.#letterOf(step);
    this.#numSteps++;
  }

  get #isEarly(): boolean {
    return this.#numSteps < this.#numPlain;
  }

  #letterOf({ onDevice, limits }: ObservedStep): string {
    const letter = onDevice ? "d" : "h";
    return limits.numLookaheadNodes > 0 ? letter.toUpperCase() : letter;
  }
}

describe("trees after plain decoding, of which the drafter has seen nothing", () => {
  it("as many plain steps as it takes to see it all, then the device's: none is drafted by the host", async () => {
    const policy = new LateTrees(8);
    const propose = vi.spyOn(ModelProposer.prototype, "propose");
    // Some 8 · 32 tokens, of which its passes take 64.
    const parts = await open({ drafts: true, policy });
    await Promise.all(Array.from({ length: 8 }, (_, i) => expectPlain(parts.engine, i)));
    expect(policy.steps).toMatch(/^d{0,2}h{4,6}D+/);
    expect(propose.mock.calls.flatMap(([requests]) => requests.filter(({ maxNodes }) => maxNodes > 1))).toEqual([]);
    await expectIdle(parts);
    propose.mockRestore();
  });

  it("where its cache lacks blocks, that is not waited for", async () => {
    const policy = new LateTrees(8);
    const parts = await open({ drafts: true, policy, numBlocks: 40, checkInvariants: false });
    parts.draftBlocks.open("other", undefined);
    expect(parts.draftBlocks.ensure("other", 16 * 36)).toBe(true);
    await Promise.all(Array.from({ length: 4 }, (_, i) => expectPlain(parts.engine, i)));
    expect(policy.steps).toMatch(/^d{0,2}h{1,3}H/);
    // Now and then blocks are lacking for one more, which is tried once.
    const since = policy.steps.slice(policy.steps.indexOf("H"));
    expect(since.replaceAll("H", "").length).toBeLessThanOrEqual(since.length / 4);
    expect(since.length).toBeGreaterThan(8);
    parts.draftBlocks.free("other");
    await expectIdle(parts);
  });
});
