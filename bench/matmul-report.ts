import type { MatmulReport } from "./matmul.ts";
import { table } from "./report.ts";

export function formatMatmul({ copyGigabytesPerSecond, errors, figures }: MatmulReport, title: string): string {
  const rowCounts = Object.keys(figures[0]?.us ?? {}).map(Number);
  const worst = Object.entries(errors).map(([format, error]) => `${format} ${error.toExponential(1)}`);
  return [
    `${title} · copy ${copyGigabytesPerSecond.toFixed(0)} GB/s · largest error against the reference: ${worst.join(", ")}`,
    "",
    table(
      [
        "format",
        "outputs × inputs",
        ...rowCounts.map((rows) => `M = ${rows}, µs`),
        "GB/s at 1",
        "of copy",
        "T(8)",
        "T(16)",
        "T(64)",
      ],
      figures.map(({ format, numOutputs, numInputs, us, gigabytesPerSecond, shareOfCopy }) => [
        format,
        `${numOutputs} × ${numInputs}`,
        ...rowCounts.map((rows) => (us[rows] ?? 0).toFixed(1)),
        gigabytesPerSecond.toFixed(0),
        `${(100 * shareOfCopy).toFixed(0)} %`,
        ...[8, 16, 64].map((rows) => ((us[rows] ?? 0) / (us[1] ?? 1)).toFixed(2)),
      ]),
    ),
  ].join("\n");
}
