import { type KvType, kvSlotBytes } from "../../kernels/index.ts";
import { closeModel, uploadModel } from "../bench-model.ts";
import { type KvError, kvError, textLogits } from "../kv-error.ts";
import { referencePrompts } from "../prompts.ts";
import { defineSuite, oneOf, positiveInteger } from "../suite.ts";
import { table } from "../table.ts";

interface KvRow extends KvError {
  readonly kvType: KvType;
  /** Of a token's keys and values in all layers. */
  readonly tokenBytes: number;
}

export const kvDtype = defineSuite(
  "nothing in time: how far logits move where keys and values are stored in fewer bits, on the reference's texts",
  {
    prompts: { type: "string", value: "N", default: "16", help: "texts: prompt and greedy answer, up to 16" },
  },
  async (values, print) => {
    const texts = referencePrompts()
      .slice(0, positiveInteger(values.prompts))
      .map(({ promptTokens, greedyTokens }) => [...promptTokens, ...greedyTokens]);
    const model = await uploadModel("sapling-14m", oneOf(["auto", "gpu", "software"] as const, values.adapter), 512);
    const { chosen, config } = model;
    const withKv = (kv: KvType) => ({ ...chosen, family: { ...chosen.family, kv } });
    const exact = await textLogits(withKv("f32"), model, texts);
    const types: readonly KvType[] = chosen.family.storage === "f16" ? ["f16", "q8"] : ["q8"];
    const rows: KvRow[] = [];
    for (const kvType of types) {
      const tokenBytes = 2 * config.numLayers * kvSlotBytes(withKv(kvType).family, config);
      rows.push({ kvType, tokenBytes, ...kvError(exact, await textLogits(withKv(kvType), model, texts)) });
    }
    closeModel(model);
    print(formatRows(rows));
    return { suite: "kv-dtype", rows };
  },
);

function formatRows(rows: readonly KvRow[]): string {
  return table(
    [
      "keys and values",
      "bytes a token",
      "mean |Δlogit|",
      "max",
      "mean KL, nats",
      "perplexity (exact)",
      "same best token",
    ],
    rows.map((row) => [
      row.kvType,
      String(row.tokenBytes),
      row.meanAbsDelta.toExponential(2),
      row.maxAbsDelta.toFixed(3),
      row.meanKl.toExponential(2),
      `${row.perplexity.toFixed(5)} (${row.exactPerplexity.toFixed(5)})`,
      `${row.sameBest} of ${row.numTokens}`,
    ]),
  );
}
