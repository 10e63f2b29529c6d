import { describe, expect, it } from "vitest";
import type { SamplingRow } from "../../../kernels/ops/sampling.ts";
import { inPlay, scaledLogits } from "../../../kernels/reference/sampling.ts";
import { chiSquareP } from "../../support/chi-square.ts";
import { FAMILIES, useGpu } from "../../support/gpu.ts";
import { draw, PLAIN } from "./sampling-case.ts";

const test = useGpu();
const NUM_DRAWS = Number(process.env.CANOPY_NUM_DRAWS ?? 50_000);
/** Of one dispatch. */
const MAX_ROWS = 50_000;
const REJECT_BELOW = 1e-6;
const LOGITS = Float32Array.from([2.1, 1.4, 1.3, 0.2, -0.5, -1, -2.2, -4]);

/** Shares of the filtered, renormalised softmax. */
function sharesOf(row: SamplingRow): number[] {
  const z = scaledLogits(LOGITS, row.temperature);
  const { low, high } = inPlay(z, row);
  const masses = Array.from(z, (value) => (value >= low && value <= high ? Math.exp(value) : 0));
  const total = masses.reduce((sum, mass) => sum + mass, 0);
  return masses.map((mass) => mass / total);
}

/** Tokens drawn with `row`, of which `vary` changes what makes draw i a draw of its own. */
async function drawMany(row: SamplingRow, vary: (i: number) => Partial<SamplingRow>): Promise<number[]> {
  const shape = { vocabSize: LOGITS.length, topK: 1, withShares: false };
  const tokens: number[] = [];
  while (tokens.length < NUM_DRAWS) {
    const from = tokens.length;
    const count = Math.min(MAX_ROWS, NUM_DRAWS - from);
    const rows = Array.from({ length: count }, (_, i) => ({ ...row, ...vary(from + i) }));
    const logits = rows.map(() => LOGITS);
    const drawn = await draw(test.context(FAMILIES[0]), shape, logits, rows);
    tokens.push(...drawn.map((one) => one.tokens[0] ?? -1));
  }
  return tokens;
}

/** Of the counts' shares from the expected ones, 0…1. */
function totalVariation(counts: readonly number[], shares: readonly number[]): number {
  return counts.reduce((sum, count, i) => sum + Math.abs(count / NUM_DRAWS - (shares[i] ?? 0)), 0) / 2;
}

function countsOf(tokens: readonly number[]): number[] {
  const counts = LOGITS.reduce<number[]>((all) => [...all, 0], []);
  for (const token of tokens) counts[token] = (counts[token] ?? 0) + 1;
  return counts;
}

const POSITIONS = (position: number) => ({ position });

describe(`${NUM_DRAWS} draws follow the filtered softmax`, () => {
  it.each<readonly [string, Partial<SamplingRow>, (i: number) => Partial<SamplingRow>]>([
    ["positions of one seed", {}, POSITIONS],
    ["positions far on", {}, (i) => ({ position: 0xffff0000 - i })],
    ["seeds in their low word", { position: 17 }, (i) => ({ seed: [i, 0] })],
    ["seeds in their high word", { position: 17 }, (i) => ({ seed: [0, i] })],
    ["choices", { position: 17 }, (choice) => ({ choice })],
    ["temperature 0.4", { temperature: 0.4 }, POSITIONS],
    ["temperature 3", { temperature: 3 }, POSITIONS],
    ["top-k", { topK: 3 }, POSITIONS],
    ["top-p", { topP: 0.8 }, POSITIONS],
    ["min-p", { minP: 0.1 }, POSITIONS],
    ["typical-p", { typicalP: 0.5 }, POSITIONS],
    ["all filters", { topK: 6, typicalP: 0.9, topP: 0.97, minP: 0.04, temperature: 1.3 }, POSITIONS],
  ])("%s", async (_, params, vary) => {
    const row = { ...PLAIN, ...params };
    expect(chiSquareP(countsOf(await drawMany(row, vary)), sharesOf(row))).toBeGreaterThan(REJECT_BELOW);
  });

  it.each<readonly [string, Partial<SamplingRow>]>([
    ["a temperature of 1.05 for 1", { temperature: 1.05 }],
    ["a filter that should not be there", { topK: 7 }],
  ])("a biased sampler is told: %s", async (_, biased) => {
    const counts = countsOf(await drawMany({ ...PLAIN, ...biased }, POSITIONS));
    expect(chiSquareP(counts, sharesOf(PLAIN))).toBeLessThan(REJECT_BELOW);
  });
});

describe("draws are independent of each other", () => {
  const numTokens = LOGITS.length;
  const shares = sharesOf(PLAIN);
  const products = shares.flatMap((a) => shares.map((b) => a * b));
  const pairP = (first: readonly number[], second: readonly number[]) => {
    const counts = products.map(() => 0);
    first.forEach((token, i) => {
      const cell = token * numTokens + (second[i] ?? 0);
      counts[cell] = (counts[cell] ?? 0) + 1;
    });
    return chiSquareP(counts, products);
  };

  it.each<readonly [string, Partial<SamplingRow>]>([
    ["the next position", {}],
    ["another choice", { choice: 1 }],
    ["the next seed, low word", { seed: [PLAIN.seed[0] + 1, PLAIN.seed[1]] }],
    ["the next seed, high word", { seed: [PLAIN.seed[0], PLAIN.seed[1] + 1] }],
    ["both words of the seed exchanged", { seed: [PLAIN.seed[1], PLAIN.seed[0]] }],
  ])("of those of %s", async (name, other) => {
    const shift = name === "the next position" ? 1 : 0;
    const first = await drawMany(PLAIN, POSITIONS);
    const second = await drawMany({ ...PLAIN, ...other }, (i) => ({ position: i + shift }));
    expect(pairP(first, second)).toBeGreaterThan(REJECT_BELOW);
  });

  it("of three choices: the joint distribution of their tokens is the product of theirs", async () => {
    const choices = await Promise.all([0, 1, 2].map((choice) => drawMany({ ...PLAIN, choice }, POSITIONS)));
    const joint = products.flatMap((ab) => shares.map((c) => ab * c));
    const counts = joint.map(() => 0);
    for (let i = 0; i < NUM_DRAWS; i++) {
      const cell = choices.reduce((index, tokens) => index * numTokens + (tokens[i] ?? 0), 0);
      counts[cell] = (counts[cell] ?? 0) + 1;
    }
    expect(chiSquareP(counts, joint)).toBeGreaterThan(REJECT_BELOW);
    // 0.025 at 200,000 draws: what chance leaves shrinks with the root of their number.
    expect(totalVariation(counts, joint)).toBeLessThan(0.025 * Math.sqrt(200_000 / NUM_DRAWS));
  });

  it("the same draws again are told", async () => {
    const tokens = await drawMany(PLAIN, POSITIONS);
    expect(pairP(tokens, tokens)).toBeLessThan(REJECT_BELOW);
    expect(await drawMany(PLAIN, POSITIONS)).toEqual(tokens);
  });
});
