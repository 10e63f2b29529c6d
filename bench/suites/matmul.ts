import { withDevice } from "../bench-device.ts";
import { type MatmulReport, measureMatmul } from "../matmul.ts";
import { defineSuite, oneOf } from "../suite.ts";
import { SHAPE_NAMES } from "../synthetic.ts";
import { table } from "../table.ts";

export const matmul = defineSuite(
  "products of a model's shapes in every format: GB/s and share of the copy bandwidth measured in the same run",
  { shape: { type: "string", value: SHAPE_NAMES.join("|"), default: "1b", help: "the model" } },
  async ({ adapter, shape }, print) => {
    const report = await withDevice(oneOf(["auto", "gpu", "software"], adapter), (on) =>
      measureMatmul(on, oneOf(SHAPE_NAMES, shape)),
    );
    print(formatMatmul(report));
    return { suite: "matmul", ...report };
  },
);

function formatMatmul({ adapter, model, copyGigabytesPerSecond, errors, figures }: MatmulReport): string {
  const rowCounts = Object.keys(figures[0]?.us ?? {}).map(Number);
  const worst = Object.entries(errors).map(([format, error]) => `${format} ${error.toExponential(1)}`);
  return [
    `${model} on ${adapter} · copy ${copyGigabytesPerSecond.toFixed(0)} GB/s · largest error against the reference: ${worst.join(", ")}`,
    "",
    table(
      [
        ...["format", "outputs × inputs"],
        ...rowCounts.map((rows) => `M = ${rows}, µs`),
        ...["GB/s at 1", "of copy", "T(8)", "T(16)", "T(64)"],
      ],
      figures.map(({ format, numOutputs, numInputs, us, gigabytesPerSecond, shareOfCopy }) => [
        ...[format, `${numOutputs} × ${numInputs}`],
        ...rowCounts.map((rows) => (us[rows] ?? 0).toFixed(1)),
        ...[gigabytesPerSecond.toFixed(0), `${(100 * shareOfCopy).toFixed(0)} %`],
        ...[8, 16, 64].map((rows) => ((us[rows] ?? 0) / (us[1] ?? 1)).toFixed(2)),
      ]),
    ),
  ].join("\n");
}
