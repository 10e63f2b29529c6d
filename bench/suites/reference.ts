import { compareWithReference, type Difference, MARGINS } from "../reference.ts";
import { defineSuite } from "../suite.ts";
import { ENGINE_OPTIONS, engineSettings } from "./engine-settings.ts";

export const reference = defineSuite(
  "greedy texts of the bundled model against its reference, with each drafter; exits with 1 if one leaves it where the best two logits were not close",
  {
    ...{ drafters: ENGINE_OPTIONS.drafters, "steps-in-flight": ENGINE_OPTIONS["steps-in-flight"] },
    ...{ "tree-nodes": ENGINE_OPTIONS["tree-nodes"], "tree-depth": ENGINE_OPTIONS["tree-depth"] },
    "tree-budget": ENGINE_OPTIONS["tree-budget"],
  },
  async (values, print) => {
    const { engine, drafters } = engineSettings({ ...values, model: "sapling-14m", prompts: "16", tokens: "128" });
    const results: { readonly drafter: string; readonly differences: readonly Difference[] }[] = [];
    for (const drafter of drafters) {
      const differences = await compareWithReference({ ...engine, drafter });
      const unexplained = differences.filter(({ margin }) => margin >= MARGINS.f16);
      results.push({ drafter: String(drafter), differences });
      print(
        `${drafter}: ${differences.length} of 16 texts leave the reference, ${unexplained.length} of them unexplained`,
      );
      for (const { prompt, position, margin } of differences) {
        print(`  prompt ${prompt}, token ${position}: the best two logits were ${margin} apart`);
      }
      if (unexplained.length > 0) process.exitCode = 1;
    }
    return { suite: "reference", results };
  },
);
