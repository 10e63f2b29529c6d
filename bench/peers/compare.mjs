// One GGUF file through llama.cpp (node-llama-cpp) and through Canopy's `decode`, in turns, on the same machine in the same minutes: one
// stream, greedy, the same prompt of token ids, no speculation. Prints tokens a second of both, and their ratio.
import { execFileSync } from "node:child_process";
import { join, resolve } from "node:path";
import { parseArgs } from "node:util";
import { getLlama } from "node-llama-cpp";

const { values, positionals } = parseArgs({
  allowPositionals: true,
  options: {
    backend: { type: "string", default: "vulkan" },
    tokens: { type: "string", default: "200" },
    "prompt-tokens": { type: "string", default: "64" },
    "prefill-tokens": { type: "string", default: "2048" },
    threads: { type: "string" },
    rounds: { type: "string", default: "2" },
    json: { type: "boolean", default: false },
  },
});
const [file] = positionals;
if (file === undefined || !["vulkan", "cpu"].includes(values.backend)) {
  throw new Error(
    "usage: node compare.mjs FILE.gguf [--backend vulkan|cpu] [--threads N] [--tokens N] [--prompt-tokens N] [--json]",
  );
}
const path = resolve(file);
const [numTokens, promptTokens, prefillTokens, rounds] = [
  values.tokens,
  values["prompt-tokens"],
  values["prefill-tokens"],
  values.rounds,
].map(Number);
/** Of the CPU backend; its threads spin, so that more of them than idle cores make it slower by far. */
const threads = values.threads === undefined ? {} : { threads: Number(values.threads) };
/** An idle GPU takes this long to reach its clocks. */
const WARM_UP_MS = 1500;
const NUM_RUNS = 3;

/** Tokens a second after the first one, prompt tokens a second until it. */
async function generate(sequence, prompt, count) {
  await sequence.clearHistory();
  const startMs = performance.now();
  let firstMs = startMs;
  let numDecoded = -1;
  for await (const _ of sequence.evaluate(prompt, { temperature: 0, yieldEogToken: true })) {
    if (++numDecoded === 0) firstMs = performance.now();
    if (numDecoded + 1 === count) break;
  }
  return { numDecoded, decodeMs: performance.now() - firstMs, firstMs: firstMs - startMs };
}

async function measureLlamaCpp() {
  const llama = await getLlama({
    gpu: values.backend === "vulkan" ? "vulkan" : false,
    build: "never",
    logLevel: "error",
  });
  const model = await llama.loadModel({ modelPath: path, ...(values.backend === "vulkan" && { gpuLayers: "max" }) });
  const room = 1 + Math.max(prefillTokens, promptTokens + numTokens);
  const contextSize = Math.min(room, model.trainContextSize ?? room);
  const context = await model.createContext({ contextSize, batchSize: Math.min(512, contextSize), ...threads });
  const sequence = context.getSequence();
  const vocabSize = model.fileInfo.metadata.tokenizer.ggml.tokens.length;
  // As bench/decode.ts: all over the vocabulary, hardly any token twice.
  const text = Array.from({ length: Math.min(prefillTokens, contextSize - 1) }, (_, i) => (7919 * i) % vocabSize);
  const prompt = text.slice(0, promptTokens);
  const startMs = performance.now();
  do await generate(sequence, prompt, numTokens);
  while (performance.now() - startMs < WARM_UP_MS);
  let [numDecoded, decodeMs, prefillRate] = [0, 0, 0];
  for (let i = 0; i < NUM_RUNS; i++) {
    const run = await generate(sequence, prompt, numTokens);
    numDecoded += run.numDecoded;
    decodeMs += run.decodeMs;
  }
  for (let i = 0; i < NUM_RUNS; i++) {
    const { firstMs } = await generate(sequence, text, 1);
    prefillRate = Math.max(prefillRate, (1000 * text.length) / firstMs);
  }
  const backend = llama.gpu === false ? `CPU, ${context.currentThreads} threads` : llama.gpu;
  await context.dispose();
  await model.dispose();
  await llama.dispose();
  return { backend, tokensPerSecond: (1000 * numDecoded) / decodeMs, prefillTokensPerSecond: prefillRate };
}

function measureCanopy() {
  const cli = join(import.meta.dirname, "..", "..", "dist", "bench", "cli.js");
  const args = ["decode", "--model", path, "--json", "--rows", "1", "--rounds", "3"];
  for (const option of ["tokens", "prompt-tokens", "prefill-tokens"]) args.push(`--${option}`, values[option]);
  const { adapter, formats, tokensPerSecond, prefill } = JSON.parse(execFileSync(process.execPath, [cli, ...args]));
  return { adapter, formats, tokensPerSecond, prefillTokensPerSecond: prefill.tokensPerSecond };
}

const results = [];
for (let round = 0; round < rounds; round++) {
  const llamaCpp = await measureLlamaCpp();
  const canopy = measureCanopy();
  const result = { llamaCpp, canopy, ratio: canopy.tokensPerSecond / llamaCpp.tokensPerSecond };
  results.push(result);
  if (values.json) continue;
  console.log(`llama.cpp (${llamaCpp.backend})  ${describe(llamaCpp)}`);
  console.log(`Canopy (${canopy.adapter}, ${canopy.formats.join(", ")})  ${describe(canopy)}`);
  console.log(`Canopy / llama.cpp, decode: ${result.ratio.toFixed(2)}\n`);
}
if (values.json) console.log(JSON.stringify({ suite: "peers", file: path, results }, null, 2));

function describe({ tokensPerSecond, prefillTokensPerSecond }) {
  return `decode ${tokensPerSecond.toFixed(1)} tokens/s, prefill ${prefillTokensPerSecond.toFixed(0)} tokens/s`;
}
