#!/usr/bin/env node
import { parseArgs } from "node:util";
import type { DrafterKind } from "../engine/engine-options.ts";
import { bundledDraftFor, resolveModel } from "../engine/model/bundled.ts";
import { openModel } from "../engine/model/open.ts";
import { ModelText } from "../engine/text/model-text.ts";
import { type AdapterChoice, createGpuContext, openGpu } from "../kernels/index.ts";
import { type AttentionFigure, measureAttention, parseShape, parseVariant, TABLE_SHAPES } from "./attention.ts";
import { measureDispatch } from "./dispatch.ts";
import { allPairs, type PairResult, runPairs } from "./identity.ts";
import { describeMachine } from "./machine.ts";
import { benchMatmul } from "./matmul.ts";
import { formatMatmul } from "./matmul-report.ts";
import { referencePrompts } from "./prompts.ts";
import { compareWithReference, MARGINS } from "./reference.ts";
import { formatDispatch, formatReport } from "./report.ts";
import { measureThroughput } from "./throughput.ts";
import { measureVerifyCost } from "./verify-cost.ts";

const HELP = `Usage: npm run bench -- [throughput|identity|reference|dispatch|matmul|attention] [options]

  throughput   (default) prompt and decode tokens a second without and with each drafter, acceptance length, where a
               step's time goes, and the cost of verifying M rows
  identity     the same requests with speculation and without: every drafter, tree size, batch size, sampling and seed;
               exits with 1 if one token differs
  reference    greedy texts of the bundled model against its reference, with each drafter; exits with 1 if one leaves it
               where the best two logits were not within 0.02
  dispatch     what a dispatch and a readback cost, on the host and on the device
  matmul       products of a model's shapes (--shape 1b or 8b) in every format, GB/s and share of the copy bandwidth
  attention    GPU time of tree attention alone (32 heads of 128, f16), each result checked against f64 first

  --model NAME|PATH             default sapling-14m
  --adapter auto|gpu|software   default auto
  --prompts N                   of the 16 bundled prompts, default all
  --tokens N                    most tokens a text, default 128
  --shape 1b|8b                 for matmul, default 1b
  --shapes B×R×C,…              attention: sequences, tree nodes, cached keys, e.g. 1x16x64,8x64x4096; default a table of 36
  --variants NAME:SPLIT,…       attention: kernels and split sizes, e.g. matrix64:512,subgroup:256; default by device
  --drafters A,B                to measure, the first as the base; default none and all that the model has
  --steps-in-flight N           steps that the device may be given ahead; 0 lets the host plan and walk each
  --dispatches N                of one submit, default 200
  --json                        print JSON`;

const ROW_COUNTS = [1, 2, 4, 8, 16, 32, 64] as const;
const NUM_ROUNDS = 20;

const { values, positionals } = parseArgs({
  allowPositionals: true,
  options: {
    model: { type: "string", default: "sapling-14m" },
    adapter: { type: "string", default: "auto" },
    prompts: { type: "string", default: "16" },
    tokens: { type: "string", default: "128" },
    drafters: { type: "string" },
    "steps-in-flight": { type: "string", default: "2" },
    shape: { type: "string", default: "1b" },
    shapes: { type: "string" },
    variants: { type: "string" },
    dispatches: { type: "string", default: "200" },
    json: { type: "boolean", default: false },
    help: { type: "boolean", default: false },
  },
});
type Values = typeof values;

interface Settings {
  readonly model: string;
  readonly adapter: AdapterChoice;
  readonly drafters: readonly DrafterKind[];
  readonly stepsInFlight: number;
  readonly prompts: readonly (readonly number[])[];
  readonly maxTokens: number;
  readonly json: boolean;
}

async function benchThroughput(values: Values): Promise<void> {
  const { drafters, prompts, maxTokens, json, ...engine } = readSettings(values);
  const { model, adapter } = engine;
  const { info, throughput } = await measureThroughput(engine, drafters, prompts, maxTokens);
  const verifyCost = await measureVerifyCost(model, adapter, ROW_COUNTS, NUM_ROUNDS);
  const report = { machine: describeMachine(info), numPrompts: prompts.length, maxTokens, throughput, verifyCost };
  console.log(json ? JSON.stringify(report, null, 2) : formatReport(report));
}

async function benchDispatch({ adapter, dispatches, json }: Values): Promise<void> {
  const figures = await measureDispatch(adapter as AdapterChoice, Number(dispatches));
  console.log(json ? JSON.stringify(figures, null, 2) : formatDispatch(figures));
}

async function benchIdentity(values: Values): Promise<void> {
  const { drafters, prompts, maxTokens, json, ...engine } = readSettings(values);
  const pairs = allPairs(drafters.filter((drafter) => drafter !== "none"));
  const results: PairResult[] = [];
  for await (const result of runPairs(engine, pairs, prompts, maxTokens)) {
    results.push(result);
    const { drafter, treeNodes, batchSize, sampling, seed } = result.pair;
    const { numTokens, numDifferent, numAccepted, numRejected } = result;
    const name = `${drafter}, ${treeNodes} nodes, batch ${batchSize}, ${sampling.name}, seed ${seed}`;
    if (!json) console.log(`${name}: ${numTokens} tokens, ${numDifferent} differ (+${numAccepted} −${numRejected})`);
  }
  const total = (pick: (result: PairResult) => number) => results.reduce((sum, result) => sum + pick(result), 0);
  const summary = {
    numPairs: results.length,
    numTokens: total((result) => result.numTokens),
    numDifferent: total((result) => result.numDifferent),
    numAccepted: total((result) => result.numAccepted),
    numRejected: total((result) => result.numRejected),
  };
  console.log(json ? JSON.stringify({ summary, results }, null, 2) : summary);
  const proves = summary.numDifferent === 0 && summary.numAccepted > 0 && summary.numRejected > 0;
  process.exitCode = proves ? 0 : 1;
}

async function benchAttention({ adapter, shapes, variants, json }: Values): Promise<void> {
  const figures: AttentionFigure[] = [];
  const wanted = variants === undefined ? undefined : variants.split(",").map(parseVariant);
  const table = shapes === undefined ? TABLE_SHAPES : shapes.split(",").map(parseShape);
  for await (const figure of measureAttention(adapter as AdapterChoice, table, wanted)) {
    figures.push(figure);
    if (!json) console.log(formatAttention(figure));
  }
  if (json) console.log(JSON.stringify(figures, null, 2));
}

function formatAttention({ variant, batch, rows, context, warmUs, coldUs, maxError }: AttentionFigure): string {
  const shape = `${batch} × ${rows} × ${context}`.padEnd(15);
  const figures = [`${warmUs.toFixed(1)} µs`, `cold ${coldUs.toFixed(1)} µs`, `error ${maxError.toExponential(1)}`];
  return [shape, variant.padEnd(14), ...figures.map((figure) => figure.padStart(16))].join(" ");
}

function readSettings(values: Values): Settings {
  const { model } = values;
  const opened = openModel(resolveModel(model));
  opened.weights.close();
  if (opened.text === undefined) throw new Error(`${model} has no tokenizer`);
  const text = new ModelText(opened.text);
  const prompts = referencePrompts().slice(0, Number(values.prompts));
  return {
    model,
    adapter: values.adapter as AdapterChoice,
    drafters: (values.drafters?.split(",") as DrafterKind[] | undefined) ?? [
      "none",
      ...(bundledDraftFor(opened.path) === undefined ? [] : (["draft"] as const)),
      "suffix",
    ],
    stepsInFlight: Number(values["steps-in-flight"]),
    prompts: prompts.map(({ prompt }) => text.encodeChat([{ role: "user", content: prompt }])),
    maxTokens: Number(values.tokens),
    json: values.json,
  };
}

async function benchProducts({ adapter, shape, json }: Values): Promise<void> {
  const device = await openGpu(adapter as AdapterChoice);
  const gpu = createGpuContext(device);
  const report = await benchMatmul(gpu, shape);
  console.log(json ? JSON.stringify(report, null, 2) : formatMatmul(report, `${shape} on ${device.adapterName}`));
  gpu.pool.destroyAll();
  device.close();
}

/** Exits with 1 where a text leaves the reference at a place that was not close to another token. */
async function benchReference(values: Values): Promise<void> {
  const { drafters, json, prompts, maxTokens, ...engine } = readSettings(values);
  for (const drafter of drafters) {
    const differences = await compareWithReference({ ...engine, drafter });
    const unexplained = differences.filter(({ margin }) => margin >= MARGINS.f16);
    const counts = `${differences.length} of 16 texts leave the reference, ${unexplained.length} of them unexplained`;
    console.log(json ? JSON.stringify({ drafter, differences }) : `${drafter}: ${counts}`, json ? "" : differences);
    if (unexplained.length > 0) process.exitCode = 1;
  }
}

const commands = {
  reference: benchReference,
  ...{ throughput: benchThroughput, identity: benchIdentity },
  ...{ dispatch: benchDispatch, matmul: benchProducts, attention: benchAttention },
};
const command = commands[(positionals[0] ?? "throughput") as keyof typeof commands];
if (values.help || command === undefined) console.log(HELP);
else await command(values);
