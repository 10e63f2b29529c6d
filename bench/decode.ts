import { assembleEngine } from "../engine/create.ts";
import { GREEDY } from "../engine/sampling-params.ts";
import { type BenchModel, closeModel, weightBytes } from "./bench-model.ts";
import { decodeRate, generate, measurePrefill, type Run, warmUpEngine } from "./generate.ts";
import { measureVerifyCost, type VerifyCost } from "./verify-cost.ts";

export interface DecodeOptions {
  readonly promptTokens: number;
  readonly tokens: number;
  readonly prefillTokens: number;
  /** M of T(M), 1 first. */
  readonly rowCounts: readonly number[];
  readonly rounds: number;
  /** Rows of a step. */
  readonly tokenBudget: number;
  readonly stepsInFlight: number;
}

/** One stream, greedy, without speculation. */
export interface DecodeFigures {
  readonly adapter: string;
  readonly driver: string;
  readonly model: string;
  /** Of the matrices; several where the file has several. */
  readonly formats: readonly string[];
  /** That a step of one row reads. */
  readonly weightBytes: number;
  readonly copyGigabytesPerSecond: number;
  /** Tokens a second if a step did nothing but read the weights as fast as memory is copied. */
  readonly floorTokensPerSecond: number;
  readonly options: DecodeOptions;
  readonly tokensPerSecond: number;
  readonly prefill: { readonly numTokens: number; readonly tokensPerSecond: number };
  readonly verifyCost: readonly VerifyCost[];
}

const NUM_RUNS = 3;

/** Decodes through the engine's own loop. Closes the model. */
export async function measureDecode(model: BenchModel, options: DecodeOptions): Promise<DecodeFigures> {
  const { device, gpu, weights, timer, name, maxModelLen, config } = model;
  try {
    const copyGigabytesPerSecond = await timer.copyBandwidth();
    const verifyCost = await measureVerifyCost(model, options.rowCounts, options.rounds);
    const { tokenBudget, stepsInFlight } = options;
    const engine = await assembleEngine(
      // The same prompt is read again and again: each time it is to be computed.
      { maxNumSeqs: 1, maxModelLen, tokenBudget, stepsInFlight, prefixCache: false },
      device,
      gpu,
      model,
    );
    // A prime step: all over the vocabulary, hardly any token twice.
    const text = Array.from({ length: options.prefillTokens }, (_, i) => (7919 * i) % config.vocabSize);
    const prompt = text.slice(0, options.promptTokens);
    await warmUpEngine(engine, prompt);
    const runs: Run[] = [];
    for (let i = 0; i < NUM_RUNS; i++) {
      runs.push(await generate(engine, prompt, { ...GREEDY, maxTokens: options.tokens }));
    }
    const prefill = await measurePrefill(engine, text, options.prefillTokens);
    await engine.close();
    const bytes = weightBytes(weights);
    return {
      ...{ adapter: device.adapterName, driver: device.driver, model: name },
      formats: [...new Set(weights.layers.map(({ gateUp }) => gateUp.format))],
      weightBytes: bytes,
      copyGigabytesPerSecond,
      floorTokensPerSecond: (1e9 * copyGigabytesPerSecond) / bytes,
      options,
      tokensPerSecond: decodeRate(runs),
      prefill,
      verifyCost,
    };
  } finally {
    closeModel(model);
  }
}
