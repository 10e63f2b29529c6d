import { ENGINE_DEFAULTS } from "../../engine/engine-options.ts";
import { synthesizeModel, uploadModel } from "../bench-model.ts";
import { type DecodeFigures, type DecodeOptions, measureDecode } from "../decode.ts";
import { defineSuite, oneOf, positiveInteger, positiveIntegers } from "../suite.ts";
import { SHAPE_NAMES } from "../synthetic.ts";
import { table } from "../table.ts";
import { verifyLength } from "../verify-cost.ts";

const FORMATS = ["f16", "q8", "q4"] as const;

export const decode = defineSuite(
  "one stream, greedy, no speculation: decode and prefill rate, cost of verifying M rows, time of device and host",
  {
    model: { type: "string", value: "NAME|PATH", default: "sapling-14m", help: "a model; needs no tokenizer" },
    synthetic: {
      type: "string",
      value: SHAPE_NAMES.join("|"),
      help: "random weights in a real model's shape, no file",
    },
    format: { type: "string", value: FORMATS.join("|"), default: "q8", help: "of synthetic weights" },
    tokens: { type: "string", value: "N", default: "200", help: "to decode" },
    "prompt-tokens": { type: "string", value: "N", default: "64", help: "before them" },
    "prefill-tokens": { type: "string", value: "N", default: "2048", help: "of the prompt whose prefill is timed" },
    rows: { type: "string", value: "1,M,…", default: "1,2,4,8,16,32,64", help: "M of T(M)" },
    rounds: { type: "string", value: "N", default: "20", help: "for each T(M)" },
    "token-budget": {
      ...{ type: "string", value: "N", default: String(ENGINE_DEFAULTS.tokenBudget) },
      help: "rows of a step",
    },
    "steps-in-flight": {
      ...{ type: "string", value: "N", default: String(ENGINE_DEFAULTS.stepsInFlight) },
      help: "steps that the device is given ahead; 0 lets the host plan each",
    },
  },
  async (values, print) => {
    const options: DecodeOptions = {
      tokens: positiveInteger(values.tokens),
      promptTokens: positiveInteger(values["prompt-tokens"]),
      prefillTokens: positiveInteger(values["prefill-tokens"]),
      rowCounts: positiveIntegers(values.rows),
      rounds: positiveInteger(values.rounds),
      tokenBudget: positiveInteger(values["token-budget"]),
      stepsInFlight: Number(values["steps-in-flight"]),
    };
    const { prefillTokens, promptTokens, tokens, rowCounts } = options;
    const room = 1 + Math.max(prefillTokens, promptTokens + tokens, verifyLength(rowCounts));
    const adapter = oneOf(["auto", "gpu", "software"], values.adapter);
    const format = oneOf(FORMATS, values.format);
    const model = await (values.synthetic === undefined
      ? uploadModel(values.model, adapter, room)
      : synthesizeModel(oneOf(SHAPE_NAMES, values.synthetic), format, adapter, room));
    const figures = await measureDecode(model, options);
    if (values.synthetic !== undefined && !figures.formats.includes(format)) {
      print(`${figures.adapter} has no products of ${format}: the weights are ${figures.formats.join(", ")}\n`);
    }
    print(formatDecode(figures));
    return { suite: "decode", ...figures };
  },
);

function formatDecode(figures: DecodeFigures): string {
  const { adapter, model, formats, prefill, verifyCost, options, tokensPerSecond, floorTokensPerSecond } = figures;
  const ms = (value: number | undefined) => value?.toFixed(3) ?? "–";
  const ratio = (value: number | undefined) => value?.toFixed(2) ?? "–";
  const [one] = verifyCost;
  return [
    `${model} ${formats.join(", ")} on ${adapter} · ${(figures.weightBytes / 1e6).toFixed(0)} MB of weights · copy ${figures.copyGigabytesPerSecond.toFixed(0)} GB/s`,
    "",
    `decode   ${tokensPerSecond.toFixed(1)} tokens/s, ${options.tokens} after ${options.promptTokens}; floor ${floorTokensPerSecond.toFixed(0)} (${((100 * tokensPerSecond) / floorTokensPerSecond).toFixed(0)} %)`,
    `prefill  ${prefill.tokensPerSecond.toFixed(0)} tokens/s, ${prefill.numTokens} tokens`,
    `step     ${ms(1000 / tokensPerSecond)} ms; one row: device ${ms(one?.deviceMs)} ms, host's encode and submit ${ms(one?.hostMs)} ms`,
    "",
    "A verify pass of M rows, ms:",
    "",
    table(
      ["M", "device", "T(M) / T(1)", "host", "with reading back", "T(M) / T(1)"],
      verifyCost.map(({ numRows, deviceMs, deviceRatio, hostMs, wallMs, wallRatio }) => [
        String(numRows),
        ...[ms(deviceMs), ratio(deviceRatio), ms(hostMs), ms(wallMs), ratio(wallRatio)],
      ]),
    ),
  ].join("\n");
}
