import { withDevice } from "../bench-device.ts";
import { GATED_SHAPES, type GatedReport, measureGated } from "../gated.ts";
import { defineSuite, oneOf } from "../suite.ts";
import { table } from "../table.ts";

export const gated = defineSuite(
  "a layer's MLP with SiLU as a kernel of its own and as part of the down product (MAX_GATED_BYTES in kernels/ops/gated-matmul.ts)",
  { shapes: { type: "string", value: "NAME,…", default: GATED_SHAPES.join(","), help: "the models" } },
  async ({ adapter, shapes }, print) => {
    const models = shapes.split(",").map((name) => oneOf(GATED_SHAPES, name));
    const report = await withDevice(oneOf(["auto", "gpu", "software"], adapter), (on) => measureGated(on, models));
    print(formatGated(report));
    return { suite: "gated", ...report };
  },
);

function formatGated({ adapter, sameBits, family, figures }: GatedReport): string {
  const rowCounts = figures[0]?.times.map(({ numRows }) => numRows) ?? [];
  return [
    `${adapter}, ${family} family; ${sameBits ? "the same" : "OTHER"} bits either way; µs of an MLP, SiLU apart / on load`,
    "",
    table(
      ["model", "format", "ranges", "on load up to", ...rowCounts.map((rows) => `M = ${rows}`)],
      figures.map(({ model, format, gateUpRanges, downRanges, maxRows, times }) => [
        ...[model, format, `${gateUpRanges}, ${downRanges}`, `${maxRows} rows`],
        ...times.map(({ apartUs, onLoadUs }) => `${apartUs.toFixed(1)} / ${onLoadUs.toFixed(1)}`),
      ]),
    ),
  ].join("\n");
}
