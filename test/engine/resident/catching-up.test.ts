import { describe, expect, it, vi } from "vitest";
import { FixedTrees, type ObservedStep } from "../../../engine/speculative/budget/tree-policy.ts";
import { ModelProposer } from "../../../engine/speculative/model-proposer.ts";
import { isPlain, NO_TREES, type TreeLimits } from "../../../scheduler/output.ts";
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
  /** Of each of the device's steps with trees, sequences for which something was drafted. */
  readonly numDrafted: number[] = [];
  #numSteps = 0;
  #then: { readonly numSteps: number; readonly run: () => void } | undefined;

  constructor(numPlain: number) {
    super({ numLookaheadNodes: TREE_NODES - 1, maxDraftDepth: TREE_DEPTH });
    this.#numPlain = numPlain;
  }

  /** Once so many steps of the device had trees. */
  afterTrees(numSteps: number, run: () => void): void {
    this.#then = { numSteps, run };
  }

  override limits(): TreeLimits {
    return this.#isEarly ? NO_TREES : super.limits();
  }

  override next(limits: TreeLimits): TreeLimits | undefined {
    return this.#isEarly || !isPlain(limits) ? limits : undefined;
  }

  override observe(step: ObservedStep): void {
    if (!this.#isEarly) this.#note(step);
    this.#numSteps++;
  }

  get #isEarly(): boolean {
    return this.#numSteps < this.#numPlain;
  }

  #note(step: ObservedStep): void {
    const letter = this.#letterOf(step);
    this.steps += letter;
    if (letter !== "D") return;
    this.numDrafted.push(step.drafts.filter(({ tree }) => tree.tokenIds.length > 1).length);
    if (this.numDrafted.length === this.#then?.numSteps) this.#then.run();
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

  it("for whom its cache lacks blocks nothing is drafted until there are some; the others' drafts are the device's all the time", async () => {
    const policy = new LateTrees(2);
    const propose = vi.spyOn(ModelProposer.prototype, "propose");
    const parts = await open({ drafts: true, policy, numBlocks: 40, checkInvariants: false });
    parts.draftBlocks.open("other", undefined);
    expect(parts.draftBlocks.ensure("other", 16 * 32)).toBe(true);
    policy.afterTrees(2, () => parts.draftBlocks.free("other"));
    await Promise.all([2, 3, 6, 7].map((i) => expectPlain(parts.engine, i)));
    expect(policy.steps).toMatch(/^d{0,2}h{1,4}D{2,4}h{1,2}D+/);
    for (const numDrafted of policy.numDrafted.slice(0, 2)) expect([1, 2, 3]).toContain(numDrafted);
    expect(policy.numDrafted.slice(4)).toContain(4);
    expect(propose.mock.calls.flatMap(([requests]) => requests.filter(({ maxNodes }) => maxNodes > 1))).toEqual([]);
    await expectIdle(parts);
    propose.mockRestore();
  });

  it("where its cache lacks blocks for all, the host decodes without waiting for them", async () => {
    const policy = new LateTrees(8);
    const parts = await open({ drafts: true, policy, numBlocks: 40, checkInvariants: false });
    parts.draftBlocks.open("other", undefined);
    expect(parts.draftBlocks.ensure("other", 16 * 38)).toBe(true);
    await Promise.all(Array.from({ length: 4 }, (_, i) => expectPlain(parts.engine, i)));
    expect(policy.steps).toMatch(/^d{0,2}HH+$/);
    parts.draftBlocks.free("other");
    await expectIdle(parts);
  });
});
