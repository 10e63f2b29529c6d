import { afterEach, beforeAll, describe, expect, it, vi } from "vitest";
import { referencePrompts } from "../../bench/prompts.ts";
import type { StepStats } from "../../engine/client.ts";
import type { DrafterName, EngineOptions } from "../../engine/engine-options.ts";
import { GREEDY } from "../../engine/sampling-params.ts";
import { regularShape } from "../../engine/speculative/tree-shape.ts";
import { type Generated, generate } from "../support/collect.ts";
import { useEngines } from "../support/engines.ts";
import { ADAPTER } from "../support/gpu.ts";
import { leaveSizesToChance } from "./resident/chance.ts";

const createEngine = useEngines();
const prompts = referencePrompts()
  .slice(0, 3)
  .map(({ promptTokens }) => promptTokens);
const MODEL = { model: "sapling-14m", adapter: ADAPTER, maxModelLen: 256, checkInvariants: true } as const;

/** Three sequences in one batch, one of them sampled. */
async function run(
  options: Partial<EngineOptions>,
  maxTokens = 15,
): Promise<{ texts: Generated[]; steps: StepStats[] }> {
  const { client } = await createEngine({ ...MODEL, ...options });
  const steps: StepStats[] = [];
  client.onStep((stats) => steps.push(stats));
  const texts = await Promise.all(
    prompts.map((prompt, i) => {
      const temperature = i === 1 ? 0.8 : 0;
      return generate(client, prompt, { ...GREEDY, temperature, seed: [3, i], maxTokens: maxTokens + i });
    }),
  );
  await client.close();
  return { texts, steps };
}

describe("the text of plain decoding, whatever the trees", () => {
  let plain: readonly Generated[];
  afterEach(() => vi.restoreAllMocks());
  beforeAll(async () => {
    ({ texts: plain } = await run({ drafter: "none" }));
  });

  const expectPlain = (texts: readonly Generated[]) =>
    expect(texts.map(({ tokenIds }) => tokenIds)).toEqual(plain.map(({ tokenIds }) => tokenIds));

  it.each<[string, EngineOptions["drafter"], number]>([
    ["on the device", "draft", 2],
    ["on the host", "draft", 0],
    ["on the device", "eagle", 2],
    ["on the device", "medusa", 1],
  ])("of one shape, drafted %s by %s", async (_, drafter = "none", stepsInFlight) => {
    const { texts, steps } = await run({ drafter, tree: [3, 1, 2], stepsInFlight });
    expectPlain(texts);
    const { parents } = regularShape([3, 1, 2]);
    const isOnDevice = ({ draftMs }: StepStats) => draftMs === 0;
    const whole = steps.filter(({ sequences }) =>
      sequences.some(({ tree }) => tree && tree.parents.join() === parents.join()),
    );
    expect(whole.length).toBeGreaterThan(4);
    expect(whole.filter(isOnDevice)).toHaveLength(stepsInFlight > 0 ? whole.length : 0);
  });

  it("of a wide shape by the drafter with the most candidates, on the device too", async () => {
    const { texts, steps } = await run({ drafter: "glide", tree: [4, 2, 2, 1], tokenBudget: 160 });
    expectPlain(texts);
    const drafted = steps.filter(({ sequences }) => sequences.some(({ tree }) => (tree?.parents.length ?? 1) > 9));
    expect(drafted.length).toBeGreaterThan(2);
    expect(drafted.every(({ draftMs }) => draftMs === 0)).toBe(true);
  });

  it.each([2, 0])("of Sequoia's shape, %i steps in flight", async (stepsInFlight) => {
    const { texts } = await run({ drafter: "draft", tree: "sequoia", stepsInFlight });
    expectPlain(texts);
    expect(texts.reduce((sum, { numAccepted }) => sum + numAccepted, 0)).toBeGreaterThan(5);
  });

  it("of three drafters, of another size in each step of a run", async () => {
    leaveSizesToChance(3);
    const { texts, steps } = await run({ drafter: ["draft", "glide", "medusa"], treeBudget: "fixed" });
    expectPlain(texts);
    const sizes = steps.flatMap(({ sequences }) => sequences.map(({ numDraft }) => numDraft));
    expect(new Set(sizes).size).toBeGreaterThan(4);
  });

  it("of two drafters, as large as pays", async () => {
    const { texts, steps } = await run({ drafter: ["draft", "suffix"], treeBudget: "adaptive" });
    expectPlain(texts);
    // Whether drafting pays is a matter of the machine's time.
    expect(steps.at(-1)?.speculation?.limits).toBeDefined();
    expect(steps.at(-1)?.speculation?.calibrationError).toBeLessThanOrEqual(1);
  });

  it.each<[EngineOptions["drafter"], EngineOptions["tree"]]>([
    ["glide", [3, 1, 2]],
    ["medusa", "sequoia"],
    [["eagle", "suffix"], "sequoia"],
  ])("of %j, trees of %j", async (drafter = "none", tree = "sequoia") => {
    const { texts } = await run({ drafter, tree });
    expectPlain(texts);
    expect(texts.reduce((sum, { numAccepted }) => sum + numAccepted, 0)).toBeGreaterThan(5);
  });

  it.each(["draft", "medusa"] as const)(
    "of %s, for more sequences than a step's budget has rows for deep trees",
    async (drafter) => {
      const texts = async (options: Partial<EngineOptions>) => {
        const { client } = await createEngine({ ...MODEL, maxNumSeqs: 12, tokenBudget: 24, ...options });
        const onDevice: boolean[] = [];
        client.onStep(({ draftMs, sequences }) => {
          if (sequences.some(({ tree }) => (tree?.parents.length ?? 1) > 1)) onDevice.push(draftMs === 0);
        });
        const params = { ...GREEDY, maxTokens: 6, ignoreEos: true };
        const all = Array.from({ length: 12 }, (_, i) => generate(client, prompts[0]?.slice(i, i + 4) ?? [], params));
        const tokenIds = (await Promise.all(all)).map((text) => text.tokenIds);
        await client.close();
        return { tokenIds, onDevice };
      };
      const drafted = await texts({ drafter, treeNodes: 8, treeDepth: 6 });
      expect(drafted.tokenIds).toEqual((await texts({ drafter: "none" })).tokenIds);
      expect(drafted.onDevice.length).toBeGreaterThan(0);
      expect(drafted.onDevice).not.toContain(false);
    },
  );

  it("of two drafters, one of which has seen nothing of a short prompt that the target has from another sequence", async () => {
    const choices = async (options: Partial<EngineOptions>) => {
      const { client } = await createEngine({ ...MODEL, ...options });
      const params = { ...GREEDY, temperature: 1, seed: [5, 1] as const, maxTokens: 12 };
      const prompt = prompts[0]?.slice(0, 3) ?? [];
      const texts = await Promise.all([0, 1].map((choice) => generate(client, prompt, params, choice)));
      await client.close();
      return texts.map(({ tokenIds }) => tokenIds);
    };
    expect(await choices({ drafter: ["draft", "eagle"] })).toEqual(await choices({ drafter: "none" }));
  });

  it.each<[string, EngineOptions["drafter"], Partial<EngineOptions>]>([
    ["as deep as they are many", "draft", { treeTopK: 4, treeDepth: 24 }],
    ["of five levels", "medusa", { medusaCandidates: 12, treeDepth: 5 }],
    ["of five levels, by two drafters", ["eagle", "glide"], { treeTopK: 6, treeDepth: 5 }],
    ["of one shape, by two drafters", ["draft", "medusa"], { tree: [5, 4, 3], treeTopK: 5 }],
  ])("of some 80 nodes, %s: %j drafts them on the device", async (_, drafter = "none", options) => {
    const large = { treeNodes: 81, tokenBudget: 384, treeBudget: "fixed", ...options } as const;
    const { texts, steps } = await run({ drafter, ...large }, 7);
    expect(texts.map(({ tokenIds }) => tokenIds)).toEqual(plain.map(({ tokenIds }, i) => tokenIds.slice(0, 7 + i)));
    const drafted = steps.filter(({ sequences }) => sequences.some(({ tree }) => (tree?.parents.length ?? 1) > 64));
    expect(drafted.length).toBeGreaterThan(0);
    expect(drafted.every(({ draftMs }) => draftMs === 0)).toBe(true);
  });

  it("of drafters that share what the target keeps", async () => {
    const { texts, steps } = await run({ drafter: ["eagle", "glide", "medusa"] });
    expectPlain(texts);
    const proposers = steps.flatMap(({ sequences }) => sequences.flatMap(({ tree }) => tree?.proposers?.flat() ?? []));
    expect(new Set(proposers)).toEqual(new Set(["eagle", "glide", "medusa"]));
  });

  it("of a drafter that reads the target's features, plain steps between them", async () => {
    const { texts, steps } = await run({ drafter: "eagle", treeBudget: "adaptive" });
    expectPlain(texts);
    expect(steps.at(-1)?.speculation?.expected?.plain).toBeGreaterThan(0);
    expect(steps.at(-1)?.speculation?.calibrationError).toBeLessThanOrEqual(1);
  });

  it.each<[string, readonly DrafterName[], number]>([
    ["on the device", ["eagle", "medusa"], 2],
    ["on the host", ["eagle", "medusa"], 0],
    ["on the host", ["eagle", "suffix"], 2],
  ])("of one shape, by several drafters %s: %j, %i steps in flight", async (place, drafter, stepsInFlight) => {
    const { texts, steps } = await run({ drafter, tree: [4, 1], stepsInFlight });
    expectPlain(texts);
    const { length } = regularShape([4, 1]).parents;
    const sizeOf = ({ sequences }: StepStats) => Math.max(...sequences.map(({ tree }) => tree?.parents.length ?? 1));
    expect(Math.max(...steps.map(sizeOf))).toBe(length);
    const whole = steps.filter((step) => sizeOf(step) === length);
    expect(whole.filter(({ draftMs }) => draftMs === 0)).toHaveLength(place === "on the device" ? whole.length : 0);
    expect(texts.reduce((sum, { numAccepted }) => sum + numAccepted, 0)).toBeGreaterThan(5);
  });
});
