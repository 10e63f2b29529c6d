import fc from "fast-check";
import { expect, test } from "vitest";
import { generate } from "../../../../bench/generate.ts";
import { createEngine } from "../../../../engine/create.ts";
import { bundledModelsDir } from "../../../../engine/model/bundled.ts";
import { readSuccessors } from "../../../../engine/model/successor-file.ts";
import { GREEDY } from "../../../../engine/sampling-params.ts";
import { findSuccessors, successorsOf } from "../../../../engine/speculative/medusa/find-successors.ts";
import { Random } from "../../../support/random.ts";
import { temporaryFolders } from "../../model/temporary.ts";
import { TINY_TOKENS, tinyGguf } from "../../model/tiny-model.ts";

const folderOf = temporaryFolders();

/** Probabilities [vocabSize, vocabSize] of random models, each row's sorted tokens first. */
function randomRows(random: Random, vocabSize: number) {
  return Array.from({ length: vocabSize }, () => {
    const weights = Array.from({ length: vocabSize }, () => Math.exp(6 * random.next()));
    const total = weights.reduce((a, b) => a + b);
    return weights.map((weight) => weight / total);
  });
}

test("a list of all tokens but one tells each one's probability over its average", () => {
  fc.assert(
    fc.property(fc.integer({ min: 2, max: 12 }), fc.nat(), (vocabSize, seed) => {
      const probs = randomRows(new Random(seed), vocabSize);
      const rows = probs.map((row) => {
        const best = [...row.keys()].sort((a, b) => (row[b] ?? 0) - (row[a] ?? 0)).slice(0, vocabSize - 1);
        return { tokenIds: best, logShares: best.map((token) => Math.log(row[token] ?? 0)) };
      });
      const { numSuccessors, tokenIds, logRatios, others } = successorsOf(rows);
      expect(numSuccessors).toBe(vocabSize - 1);
      for (const [row, own] of probs.entries()) {
        const listed = Array.from(tokenIds).slice(row * numSuccessors, (row + 1) * numSuccessors);
        expect(listed).toEqual([...listed].sort((a, b) => a - b));
        const ratio = (token: number) => {
          const average = probs.reduce((sum, one) => sum + (one[token] ?? 0), 0) / vocabSize;
          return Math.log((own[token] ?? 0) / average);
        };
        for (const [i, token] of listed.entries()) {
          expect(logRatios[row * numSuccessors + i]).toBeCloseTo(ratio(token), 3);
        }
        const left = [...own.keys()].find((token) => !listed.includes(token)) ?? 0;
        expect(others[row]).toBeCloseTo(ratio(left), 3);
      }
    }),
  );
});

test("a model is asked about every token of its vocabulary", async () => {
  const folder = folderOf({ "tiny.gguf": tinyGguf() });
  const seen: (readonly [number, number])[] = [];
  const table = await findSuccessors(folder, "software", (...progress) => seen.push(progress));
  expect(seen).toEqual([[TINY_TOKENS.length, TINY_TOKENS.length]]);
  expect(table.numSuccessors).toBe(TINY_TOKENS.length - 1);
  expect(table.others).toHaveLength(TINY_TOKENS.length);
  expect([...table.logRatios, ...table.others].every(Number.isFinite)).toBe(true);
});

test("the bundled table is the bundled model's: what comes next is in each token's list", async () => {
  const table = readSuccessors(`${bundledModelsDir()}/sapling-14m-medusa`);
  const { client } = await createEngine({
    model: "sapling-14m",
    drafter: "none",
    adapter: "software",
    maxModelLen: 64,
  });
  const tokens = Array.from({ length: 12 }, (_, i) => 7 + 341 * i);
  const next = await Promise.all(
    tokens.map(async (token) => (await generate(client, [token], { ...GREEDY, maxTokens: 1 })).tokenIds[0]),
  );
  await client.close();
  const { tokenIds = [], numSuccessors = 0 } = table ?? {};
  for (const [i, token] of tokens.entries()) {
    const list = Array.from(tokenIds).slice(token * numSuccessors, (token + 1) * numSuccessors);
    expect(list).toContain(next[i]);
  }
});
