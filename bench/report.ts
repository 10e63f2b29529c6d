import type { DispatchFigures } from "./dispatch.ts";
import type { Machine } from "./machine.ts";
import type { ThroughputFigures } from "./throughput.ts";
import type { VerifyCost } from "./verify-cost.ts";

export interface BenchReport {
  readonly machine: Machine;
  readonly numPrompts: number;
  readonly maxTokens: number;
  readonly throughput: ThroughputFigures;
  readonly verifyCost: readonly VerifyCost[];
}

/** Tables of Markdown, fit for a terminal and for docs/benchmarks.md. */
export function formatReport({ machine, numPrompts, maxTokens, throughput, verifyCost }: BenchReport): string {
  const { promptTokensPerSecond, drafters } = throughput;
  return [
    `${machine.model} on ${machine.adapter} · ${machine.cpu}, ${machine.numCpus} CPUs · Node ${machine.node}`,
    `One stream, greedy, ${numPrompts} prompts, up to ${maxTokens} tokens each. Prompt: ${promptTokensPerSecond.toFixed(0)} tokens/s`,
    "",
    table(
      ["drafter", "tokens/s", "speed-up", "acceptance length", "accepted of drafted"],
      drafters.map((d) => [
        d.drafter,
        d.tokensPerSecond.toFixed(1),
        `${d.speedup.toFixed(2)}×`,
        d.acceptanceLength.toFixed(2),
        `${(100 * d.acceptedShare).toFixed(0)} %`,
      ]),
    ),
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
        ["T(M), ms", ...verifyCost.map(({ medianMs }) => medianMs.toFixed(2))],
        ["T(M) / T(1)", ...verifyCost.map(({ ratio }) => ratio.toFixed(2))],
      ],
    ),
  ].join("\n");
}

/** What dispatches and readbacks cost. */
export function formatDispatch({ adapter, numDispatches, costs, readbackUs, stepUs }: DispatchFigures): string {
  const us = (value: number | undefined) => (value === undefined ? "–" : value.toFixed(2));
  return [
    `${adapter}, ${numDispatches} dependent dispatches a submit, µs for each:`,
    "",
    table(
      ["changes between dispatches", "host: encode", "submit", "device"],
      costs.map((cost) => [cost.changes, us(cost.encodeUs), us(cost.submitUs), us(cost.deviceUs)]),
    ),
    "",
    `Submit, map, read 64 bytes: ${us(readbackUs)} µs`,
    `A step of ${numDispatches} dispatches and a readback: ${us(stepUs[0])} µs one at a time, ${us(stepUs[1])} µs with two in flight`,
  ].join("\n");
}

export function table(head: readonly string[], rows: readonly (readonly string[])[]): string {
  const widths = head.map((title, i) => Math.max(title.length, ...rows.map((row) => row[i]?.length ?? 0)));
  const line = (cells: readonly string[]) => `| ${cells.map((cell, i) => cell.padEnd(widths[i] ?? 0)).join(" | ")} |`;
  return [line(head), line(widths.map((width) => "-".repeat(width))), ...rows.map(line)].join("\n");
}
