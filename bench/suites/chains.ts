import { createGpuContext, openGpu } from "../../kernels/index.ts";
import { CHAIN_DRAFTERS, measureChains } from "../chains.ts";
import { referenceChains, referencePrompts } from "../prompts.ts";
import { defineSuite, oneOf, positiveInteger } from "../suite.ts";
import { table } from "../table.ts";
import { ENGINE_OPTIONS } from "./engine-settings.ts";

/** Texts differ where the best two logits are close; over all positions that is far less than this. */
const TOLERANCE = 0.05;

export const chains = defineSuite(
  "greedy chains of four from every position of the reference texts, against reference.json; exits with 1 if one is far from it",
  { prompts: ENGINE_OPTIONS.prompts },
  async (values, print) => {
    const texts = referencePrompts().slice(0, positiveInteger(values.prompts));
    const expected = referenceChains();
    const results = [];
    const device = await openGpu(oneOf(["auto", "gpu", "software"] as const, values.adapter));
    const gpu = createGpuContext(device);
    for (const drafter of CHAIN_DRAFTERS) {
      const figures = await measureChains(gpu, drafter, texts);
      results.push({ drafter, ...figures, expected: expected[drafter] });
    }
    device.close();
    const isWhole = texts.length === referencePrompts().length;
    const isFar = results.some((result) => Math.abs(result.meanTokensAStep - result.expected) > TOLERANCE);
    if (isWhole && isFar) process.exitCode = 1;
    print(
      table(
        ["drafter", "tokens a step", "reference", "positions"],
        results.map((result) => [
          ...[result.drafter, result.meanTokensAStep.toFixed(3), result.expected.toFixed(3)],
          String(result.numPositions),
        ]),
      ),
    );
    return { suite: "chains", results };
  },
);
