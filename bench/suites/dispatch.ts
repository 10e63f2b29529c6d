import { withDevice } from "../bench-device.ts";
import { type DispatchFigures, measureDispatch } from "../dispatch.ts";
import { defineSuite, oneOf, positiveInteger } from "../suite.ts";
import { table } from "../table.ts";

export const dispatch = defineSuite(
  "what a dispatch and a readback cost, on the host and on the device",
  { dispatches: { type: "string", value: "N", default: "200", help: "of one submit" } },
  async ({ adapter, dispatches }, print) => {
    const figures = await withDevice(oneOf(["auto", "gpu", "software"], adapter), (on) =>
      measureDispatch(on, positiveInteger(dispatches)),
    );
    print(formatDispatch(figures));
    return { suite: "dispatch", ...figures };
  },
);

function formatDispatch({ adapter, numDispatches, costs, readbackUs, stepUs }: DispatchFigures): string {
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
