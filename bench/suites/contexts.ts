import { closeModel, uploadModel } from "../bench-model.ts";
import { measurePassTable, type PassReport } from "../pass-table.ts";
import { defineSuite, oneOf, positiveInteger } from "../suite.ts";
import { table } from "../table.ts";

const CONTEXTS = [0, 256, 512, 1024, 1920];

export const contexts = defineSuite(
  "T(M, context) as start-up measures it, beside what passes take",
  {
    model: { type: "string", value: "NAME|PATH", default: "sapling-14m", help: "whose passes" },
    sequences: { type: "string", value: "N", default: "8", help: "of a pass at most" },
    nodes: { type: "string", value: "N", default: "8", help: "of a tree at most" },
    rounds: { type: "string", value: "N", default: "5", help: "passes of each size" },
  },
  async (values, print) => {
    const model = await uploadModel(values.model, oneOf(["auto", "gpu", "software"] as const, values.adapter), 2048);
    const [maxNumSeqs, treeNodes] = [positiveInteger(values.sequences), positiveInteger(values.nodes)];
    const sizes = { maxNumSeqs, treeNodes, contexts: CONTEXTS };
    const report = await measurePassTable(model, sizes, positiveInteger(values.rounds)).finally(() =>
      closeModel(model),
    );
    print(formatReport(report));
    return { suite: "contexts", ...report };
  },
);

function formatReport({ startMs, table: { treeShare }, figures }: PassReport): string {
  return [
    `measured in ${startMs.toFixed(0)} ms; each further row of all trees adds ${(100 * treeShare).toFixed(0)} % of what their roots do`,
    "",
    table(
      ["sequences", "nodes", "context", "expected, ms", "measured, ms", "ratio"],
      figures.map(({ numSequences, numNodes, context, expectedMs, ms }) => [
        ...[numSequences, numNodes, context].map(String),
        ...[expectedMs.toFixed(3), ms.toFixed(3), (expectedMs / ms).toFixed(2)],
      ]),
    ),
  ].join("\n");
}
