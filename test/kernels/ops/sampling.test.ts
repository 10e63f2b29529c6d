import { describe, expect, it } from "vitest";
import { Kernels, NO_TOKEN, numChunks } from "../../../kernels/index.ts";
import type { SamplingRow } from "../../../kernels/ops/sampling.ts";
import { inPlay, logShares, rankTokens, scaledLogits } from "../../../kernels/reference/sampling.ts";
import { uniform } from "../../support/arrays.ts";
import { FAMILIES, useGpu } from "../../support/gpu.ts";
import { Random } from "../../support/random.ts";
import { draw, PLAIN } from "./sampling-case.ts";

const test = useGpu();
/**
 * One without barriers and one with, which a software adapter is slow at, and takes seconds to compile for each size: how many of
 * everything there is, and sizes that fill part of a workgroup, part of a chunk, several chunks.
 */
const SAMPLERS = FAMILIES.slice(0, 2).map((family) =>
  family.name === "portable"
    ? ([family.name, family, { share: 1, vocabSizes: [1, 2, 5, 8, 33, 1000, 4099] }] as const)
    : ([family.name, family, { share: 0.25, vocabSizes: [1, 5, 33, 1000, 4099] }] as const),
);
const NEVER = Number.NEGATIVE_INFINITY;

function randomRow(random: Random, vocabSize: number): SamplingRow {
  const word = () => random.int(0, 0xffffffff);
  return {
    seed: [word(), word()],
    choice: random.int(0, 3),
    position: random.int(0, 100_000),
    temperature: random.pick([0, 1e-9, 0.05, 0.7, 1, 1.5, 50, 1e40]),
    topP: random.pick([1, 1, 0.95, 0.5, 0.01, 1e-9]),
    minP: random.pick([0, 0, 0.02, 0.4, 1]),
    topK: random.pick([0, 0, 1, 2, 7, vocabSize, vocabSize + 3]),
    typicalP: random.pick([1, 1, 1, 0.95, 0.5, 0.05]),
  };
}

/**
 * The reference's ranking, or undefined where rounding may decide what is in play: a cut that moves when typical-p, top-p and
 * min-p change by 1e-5, which is more than f32 sums of 4,099 masses can err by.
 */
function rankIfClear(logits: Float32Array, row: SamplingRow) {
  const z = scaledLogits(logits, row.temperature);
  const furthest = z.reduce((most, value) => (value > NEVER ? Math.max(most, Math.abs(value)) : most), 0);
  const [loose, exact, strict] = [-1e-5, 0, 1e-5].map((error) => {
    const factor = 1 + error;
    const share = (mass: number) => (mass < 1 ? Math.min(mass / factor, 1 - 1e-9) : 1);
    const varied = { typicalP: share(row.typicalP), topP: share(row.topP), minP: Math.min(1, row.minP * factor) };
    return rankTokens(z, inPlay(z, { ...row, ...varied }, (error * furthest) / 10), row);
  });
  const isExact = (other: typeof exact) => other?.every(({ token }, i) => token === exact?.[i]?.token);
  const sameSize = loose?.length === exact?.length && strict?.length === exact?.length;
  return sameSize && isExact(loose) && isExact(strict) ? exact : undefined;
}

describe.each(SAMPLERS)("draws of the %s family against the reference", (_, family, { share, vocabSizes }) => {
  it.each(vocabSizes)("the four best of %i tokens, and their shares", async (vocabSize) => {
    const random = new Random(vocabSize);
    const topK = 4;
    const rows = Array.from({ length: 60 * share }, () => randomRow(random, vocabSize));
    const logits = rows.map(() => uniform(random, vocabSize, random.pick([0.5, 5, 30])));
    const drawn = await draw(test.context(family), { vocabSize, topK, withShares: true }, logits, rows);
    let numClear = 0;
    for (const [i, row] of rows.entries()) {
      const ranked = rankIfClear(logits[i] ?? new Float32Array(), row);
      if (!ranked) continue;
      numClear++;
      const { tokens = [], logShares: shares = [] } = drawn[i] ?? {};
      const expected = [...ranked.slice(0, topK).map(({ token }) => token), ...Array(topK).fill(NO_TOKEN)].slice(
        0,
        topK,
      );
      const scores = new Map(ranked.map(({ token, score }) => [token, score]));
      const expectedShares = logShares(ranked);
      tokens.forEach((token, rank) => {
        const [score = NEVER, best = NEVER] = [scores.get(token), scores.get(expected[rank] ?? NO_TOKEN)];
        // Scores that f32 cannot tell apart may change places: logit / T rounds relatively, the noise by log's 2⁻²¹.
        const slack = row.temperature === 0 ? 0 : 2e-6 + Math.abs(best) * 2 ** -22;
        const same = token === expected[rank] || Math.abs(score - best) <= slack;
        expect(same, `row ${i} ${JSON.stringify(row)}: ${tokens}, expected ${expected}`).toBe(true);
        if (token === NO_TOKEN) return;
        const tolerance = 1e-4 + (Math.abs(best) + Math.abs(expectedShares[rank] ?? 0)) * 2 ** -22;
        const difference = Math.abs((shares[rank] ?? Number.NaN) - (expectedShares[rank] ?? Number.NaN));
        expect(difference).toBeLessThan(tolerance);
      });
      expect(new Set(tokens.filter((token) => token !== NO_TOKEN)).size).toBe(Math.min(topK, ranked.length));
    }
    expect(numClear).toBeGreaterThan(45 * share);
  });

  it("one best token is the first of four", async () => {
    const random = new Random(3);
    const rows = Array.from({ length: 200 * share }, () => randomRow(random, 1000));
    const logits = rows.map(() => uniform(random, 1000, 5));
    const gpu = test.context(family);
    const one = await draw(gpu, { vocabSize: 1000, topK: 1, withShares: false }, logits, rows);
    const four = await draw(gpu, { vocabSize: 1000, topK: 4, withShares: true }, logits, rows);
    expect(one.map(({ tokens }) => tokens[0])).toEqual(four.map(({ tokens }) => tokens[0]));
  });

  it("a row's draw does not depend on the rows beside it", async () => {
    const random = new Random(4);
    const rows = Array.from({ length: 65 }, () => randomRow(random, 1000));
    const logits = rows.map(() => uniform(random, 1000, 3));
    const shape = { vocabSize: 1000, topK: 4, withShares: true };
    const together = await draw(test.context(family), shape, logits, rows);
    for (const i of [0, 7, 64]) {
      const alone = await draw(test.context(family), shape, [logits[i] ?? new Float32Array()], rows.slice(i, i + 1));
      expect(alone).toEqual(together.slice(i, i + 1));
    }
  });
});

describe.each(SAMPLERS)("edge cases in the %s family", (_, family, { share }) => {
  const shape = { vocabSize: 90, topK: 3, withShares: false };
  const tokensOf = async (logits: ArrayLike<number>, rows: readonly SamplingRow[]) => {
    const same = rows.map(() => Float32Array.from(logits));
    return (await draw(test.context(family), shape, same, rows)).map(({ tokens }) => tokens);
  };
  const greedy = { ...PLAIN, temperature: 0 };
  const everyWay = [
    greedy,
    PLAIN,
    { ...PLAIN, topK: 5 },
    { ...PLAIN, topP: 0.9 },
    { ...PLAIN, minP: 0.1 },
    { ...PLAIN, topK: 5, topP: 0.9, minP: 0.1, temperature: 0.5 },
  ];

  it("greedy ties go to the lowest ids, across chunks", async () => {
    expect(await tokensOf(new Float32Array(90).fill(-2.5), [greedy])).toEqual([[0, 1, 2]]);
    const spread = new Float32Array(90);
    for (const token of [88, 31, 32, 64]) spread[token] = 7;
    expect(await tokensOf(spread, [greedy])).toEqual([[31, 32, 64]]);
  });

  it("greedy ignores filters and noise", async () => {
    const logits = uniform(new Random(1), 90);
    const odd = { ...greedy, topK: 1, topP: 0.1, minP: 0.9, seed: [9, 9] as const, position: 77 };
    const [plain, filtered] = await tokensOf(logits, [greedy, odd]);
    expect(filtered).toEqual(plain);
    expect(plain?.[0]).toBe(logits.indexOf(Math.max(...logits)));
  });

  it.each([Number.NaN, Number.NEGATIVE_INFINITY])("a logit of %f is never drawn, by whatever filters", async (bad) => {
    const logits = new Float32Array(90).fill(bad);
    expect(await tokensOf(logits, everyWay)).toEqual(everyWay.map(() => [NO_TOKEN, NO_TOKEN, NO_TOKEN]));
    logits[47] = -3;
    expect(await tokensOf(logits, everyWay)).toEqual(everyWay.map(() => [47, NO_TOKEN, NO_TOKEN]));
    logits[3] = 2.5;
    for (const tokens of await tokensOf(logits, [...everyWay, { ...PLAIN, temperature: 1e-20 }])) {
      expect(tokens.filter((token) => token !== NO_TOKEN).every((token) => token === 47 || token === 3)).toBe(true);
    }
  });

  it("NaN of either sign and any payload", async () => {
    const logits = new Float32Array(90);
    new Uint32Array(logits.buffer).set([0x7fc00000, 0xffc00000, 0x7f800001, 0xffffffff]);
    logits.fill(Number.NEGATIVE_INFINITY, 5);
    expect(await tokensOf(logits, everyWay)).toEqual(everyWay.map(() => [4, NO_TOKEN, NO_TOKEN]));
  });

  it("an infinite logit wins; a huge one beside it does not", async () => {
    const logits = new Float32Array(90).fill(1);
    logits[50] = Number.POSITIVE_INFINITY;
    logits[51] = 1e38;
    for (const tokens of await tokensOf(logits, everyWay)) expect(tokens[0]).toBe(50);
  });

  it("a tiny temperature gives the best token, a huge one any", async () => {
    const logits = uniform(new Random(2), 90, 10);
    const best = logits.indexOf(Math.max(...logits));
    const at = (temperature: number) =>
      Array.from({ length: 600 * share }, (_, position) => ({ ...PLAIN, temperature, position }));
    for (const cold of [1e-45, 1e-6, 0.01]) {
      const rows = at(cold).slice(0, 150 * share);
      expect(new Set((await tokensOf(logits, rows)).map(([token]) => token))).toEqual(new Set([best]));
    }
    const hot = new Set((await tokensOf(logits, at(1e40))).map(([token]) => token));
    expect(hot.size).toBeGreaterThan(70);
  });

  it("top-k keeps ties at its edge, top-p the least set that has the mass", async () => {
    const logits = new Float32Array(90).fill(-50);
    logits.set([Math.log(0.4), Math.log(0.2), Math.log(0.2), Math.log(0.1), Math.log(0.1)]);
    const drawnOf = async (row: Partial<SamplingRow>) => {
      const rows = Array.from({ length: 160 * share }, (_, position) => ({ ...PLAIN, ...row, position }));
      return [...new Set((await tokensOf(logits, rows)).map(([token = NO_TOKEN]) => token))].sort();
    };
    expect(await drawnOf({ topK: 1 })).toEqual([0]);
    expect(await drawnOf({ topK: 2 })).toEqual([0, 1, 2]);
    expect(await drawnOf({ topP: 0.39 })).toEqual([0]);
    expect(await drawnOf({ topP: 0.41 })).toEqual([0, 1, 2]);
    expect(await drawnOf({ topP: 0.81 })).toEqual([0, 1, 2, 3, 4]);
    expect(await drawnOf({ minP: 0.49 })).toEqual([0, 1, 2]);
    // Of the three that top-k leaves, 0.4 is half the mass.
    expect(await drawnOf({ topK: 3, topP: 0.49 })).toEqual([0]);
    expect(await drawnOf({ topK: 3, topP: 0.51 })).toEqual([0, 1, 2]);
    expect(await drawnOf({ topP: 0.81, minP: 0.49 })).toEqual([0, 1, 2]);
  });

  it("typical-p keeps what surprises as much as is expected, not what is likeliest", async () => {
    const logits = new Float32Array(90).fill(-50);
    logits.set(Array<number>(10).fill(Math.log(0.05)), 1);
    const drawnOf = async (row: Partial<SamplingRow>) => {
      const rows = Array.from({ length: 240 * share }, (_, position) => ({ ...PLAIN, ...row, position }));
      return [...new Set((await tokensOf(logits, rows)).map(([token = NO_TOKEN]) => token))].sort((a, b) => a - b);
    };
    const ten = Array.from({ length: 10 }, (_, i) => i + 1);
    // −log p is 0.61 of the first and 3.09 of the ten, the entropy 1.74.
    logits[0] = Math.log(0.6);
    expect(await drawnOf({ typicalP: 0.3 })).toEqual([0]);
    // 0.98, 2.77 and 2.10: now the ten are nearer, and have 0.63 of the mass.
    logits[0] = Math.log(0.3);
    expect(await drawnOf({ typicalP: 0.3 })).toEqual(ten);
    // Of the rest that typical-p leaves, top-p and min-p speak of the best one left.
    expect(await drawnOf({ typicalP: 0.3, topP: 0.5, minP: 0.9 })).toEqual(ten);
    expect(await drawnOf({ typicalP: 0.3, topK: 1 })).toEqual([0]);
  });
});

describe("at the edges", () => {
  it.each(FAMILIES.slice(0, 2))(
    "$name family: the least typical_p keeps the most typical token alone",
    async (family) => {
      const logits = uniform(new Random(1), 90, 3);
      const rows = Array.from({ length: 30 }, (_, position) => ({ ...PLAIN, typicalP: 1e-40, position }));
      const shape = { vocabSize: 90, topK: 1, withShares: false };
      const drawn = await draw(
        test.context(family),
        shape,
        rows.map(() => logits),
        rows,
      );
      expect(new Set(drawn.map(({ tokens: [token] }) => token)).size).toBe(1);
    },
  );

  it("workgroups that may not have a power of two of threads cut where others do", async () => {
    const context = test.context(FAMILIES[1] ?? FAMILIES[0]);
    const kernels = new Kernels(
      new Proxy(context.device, {
        get(device, key) {
          const limit = { maxComputeInvocationsPerWorkgroup: 24, maxComputeWorkgroupSizeX: 24 };
          const value: unknown = key === "limits" ? limit : Reflect.get(device, key);
          return typeof value === "function" ? value.bind(device) : value;
        },
      }),
    );
    const logits = new Float32Array(90).map((_, token) => -token * 0.01);
    const rows = Array.from({ length: 60 }, (_, position) => ({ ...PLAIN, topK: 3, position }));
    const shape = { vocabSize: 90, topK: 1, withShares: false };
    const drawn = await draw(
      { ...context, kernels },
      shape,
      rows.map(() => logits),
      rows,
    );
    expect([...new Set(drawn.map(({ tokens: [token] }) => token))].sort()).toEqual([0, 1, 2]);
  });

  it("scratch has room for the chunks of a workgroup, however large the vocabulary is", () => {
    for (const vocabSize of [1000, 128_256, 2 ** 20, 2 ** 21, 2 ** 22]) {
      expect(numChunks(vocabSize)).toBeGreaterThanOrEqual(Math.ceil(vocabSize / 1024));
    }
  });
});
