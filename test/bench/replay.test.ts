import { expect, it } from "vitest";
import { generate } from "../../bench/generate.ts";
import { referencePrompts } from "../../bench/prompts.ts";
import { Replay, type ReplayText } from "../../bench/replay.ts";
import { createEngine } from "../../engine/create.ts";
import { ENGINE_DEFAULTS } from "../../engine/engine-options.ts";
import { GREEDY } from "../../engine/sampling-params.ts";
import { openGpu } from "../../kernels/index.ts";
import { ADAPTER } from "../support/gpu.ts";

const SIZES = { treeNodes: 8, treeDepth: 4, maxNumSeqs: 2 };
const DRAFTER = ["eagle", "suffix"] as const;

it("takes the steps that an engine takes", async () => {
  const { client } = await createEngine({
    ...{ model: "sapling-14m", adapter: ADAPTER, maxModelLen: 96, stepsInFlight: 0, ...SIZES, drafter: DRAFTER },
  });
  const prompts = referencePrompts().slice(0, SIZES.maxNumSeqs);
  const runs = await Promise.all(
    prompts.map(async ({ promptTokens }, i) => {
      const params = { ...GREEDY, temperature: i, seed: [4, i] as const, maxTokens: 40 };
      const run = await generate(client, promptTokens, params);
      return { run, text: { promptTokens, outputTokens: run.tokenIds, params } satisfies ReplayText };
    }),
  );
  await client.close();
  const device = await openGpu(ADAPTER);
  const replay = await Replay.create(device, "sapling-14m", [DRAFTER], { ...ENGINE_DEFAULTS, ...SIZES }, 96);
  const proposer = await replay.openDrafter(DRAFTER);
  await replay.compute(runs.map(({ text }) => text));
  const { numSteps, acceptanceLength } = await replay.run(proposer);
  proposer.close();
  replay.close();
  device.close();
  const total = (pick: (run: (typeof runs)[number]["run"]) => number) =>
    runs.reduce((sum, { run }) => sum + pick(run), 0);
  expect(numSteps).toBe(total((run) => run.numSteps));
  expect(acceptanceLength).toBeCloseTo(total((run) => run.numDecoded) / numSteps, 10);
  expect(acceptanceLength).toBeGreaterThan(1.5);
});
