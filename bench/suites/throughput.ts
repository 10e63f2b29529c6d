import { GREEDY } from "../../engine/sampling-params.ts";
import { closeModel, uploadModel } from "../bench-model.ts";
import { describeMachine, type Machine } from "../machine.ts";
import { compareDrafters, type DrafterFigures } from "../speculation.ts";
import { measureSplit, type StepSplit } from "../step-split.ts";
import { defineSuite } from "../suite.ts";
import { table } from "../table.ts";
import { measureVerifyCost, type VerifyCost, verifyLength } from "../verify-cost.ts";
import { ENGINE_OPTIONS, engineSettings } from "./engine-settings.ts";
import { speedupTable } from "./speedup-table.ts";

const ROW_COUNTS = [1, 2, 4, 8, 16, 32, 64] as const;
const NUM_ROUNDS = 20;

interface ThroughputReport {
  readonly machine: Machine;
  readonly numPrompts: number;
  readonly maxTokens: number;
  readonly promptTokensPerSecond: number;
  readonly drafters: readonly (DrafterFigures & { readonly split: StepSplit })[];
  readonly verifyCost: readonly VerifyCost[];
}

export const throughput = defineSuite(
  "(default) prompt and decode tokens a second without and with each drafter, acceptance length, where a step's time goes, and the cost of verifying M rows",
  ENGINE_OPTIONS,
  async (values, print) => {
    const { engine, drafters, prompts, maxTokens } = engineSettings(values);
    const {
      info,
      promptTokensPerSecond,
      drafters: all,
    } = await compareDrafters(engine, drafters, prompts, [{ ...GREEDY, maxTokens }]);
    const figures: ThroughputReport["drafters"][number][] = [];
    for (const [i, drafter] of drafters.entries()) {
      const found = all[0]?.[i];
      if (found === undefined) continue;
      figures.push({ ...found, split: await measureSplit({ ...engine, drafter }, prompts[0] ?? [0], maxTokens) });
    }
    const model = await uploadModel(engine.model, engine.adapter ?? "auto", verifyLength(ROW_COUNTS));
    const verifyCost = await measureVerifyCost(model, ROW_COUNTS, NUM_ROUNDS).finally(() => closeModel(model));
    const report = {
      ...{ machine: describeMachine(info), numPrompts: prompts.length, maxTokens, promptTokensPerSecond },
      ...{ drafters: figures, verifyCost },
    };
    print(formatReport(report));
    return { suite: "throughput", ...report };
  },
);

function formatReport({
  machine,
  numPrompts,
  maxTokens,
  promptTokensPerSecond,
  drafters,
  verifyCost,
}: ThroughputReport): string {
  return [
    `${machine.model} on ${machine.adapter} · ${machine.cpu}, ${machine.numCpus} CPUs · Node ${machine.node}`,
    `One stream, greedy, ${numPrompts} prompts, up to ${maxTokens} tokens each. Prompt: ${promptTokensPerSecond.toFixed(0)} tokens/s`,
    "",
    speedupTable(drafters),
    "",
    "Mean decode step, ms. Draft, forward and sample are the device's own time where it drafts and walks by itself:",
    "",
    table(
      ["drafter", "draft", "verify: forward", "sample", "host and waiting", "commit", "whole step"],
      drafters.map(({ drafter, split: s }) => [
        drafter,
        ...[s.draftMs, s.forwardMs, s.sampleMs, s.readbackMs, s.commitMs, s.stepMs].map((ms) => ms.toFixed(2)),
      ]),
    ),
    "",
    "One verify pass of M rows, sampled and read back:",
    "",
    table(
      ["M", ...verifyCost.map(({ numRows }) => String(numRows))],
      [
        ["T(M), ms", ...verifyCost.map(({ wallMs }) => wallMs.toFixed(2))],
        ["T(M) / T(1)", ...verifyCost.map(({ wallRatio }) => wallRatio.toFixed(2))],
      ],
    ),
  ].join("\n");
}
