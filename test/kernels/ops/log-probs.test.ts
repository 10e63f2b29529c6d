import { expect, it } from "vitest";
import { logitsStride, logProbLayout, logProbs, NO_TOKEN, NUM_BEST, numChunks } from "../../../kernels/index.ts";
import { inPlay, logShares, rankTokens } from "../../../kernels/reference/sampling.ts";
import { uniform } from "../../support/arrays.ts";
import { call, FAMILIES, submit, useGpu } from "../../support/gpu.ts";
import { Random } from "../../support/random.ts";
import { PLAIN } from "./sampling-case.ts";

const test = useGpu();

/** Barriers are slow on software adapters. */
const CASES = [
  ...[1, 7, 20, 90, 1500].map((size) => ({ family: FAMILIES[0], size, numRows: 24 })),
  ...[19, 1500].map((size) => ({ family: FAMILIES[1] ?? FAMILIES[0], size, numRows: 6 })),
];

it.each(CASES)(
  "$family.name family: log-probabilities of the best and of what was drawn, of $size tokens",
  async ({ family, size: vocabSize, numRows }) => {
    const gpu = test.context(family);
    const random = new Random(vocabSize);
    const layout = logProbLayout(vocabSize, numRows);
    const stride = logitsStride(vocabSize);
    const logits = Array.from({ length: numRows }, () => uniform(random, vocabSize, random.pick([0.5, 5, 30])));
    const drawn = Uint32Array.from(logits, () => (random.next() < 0.1 ? NO_TOKEN : random.int(0, vocabSize - 1)));
    const padded = new Float32Array(numRows * stride).fill(1e30);
    for (const [i, row] of logits.entries()) padded.set(row, i * stride);
    const scratch = (bytes: number) => gpu.pool.storage(bytes, "scratch");
    const results = scratch(layout.resultBytes);
    const op = await logProbs(
      gpu,
      { vocabSize, maxLogits: numRows },
      {
        ...{ logits: gpu.pool.upload(padded, "logits"), drawn: gpu.pool.upload(drawn, "drawn"), results },
        ...{ greedyRows: scratch(layout.greedyRowBytes), threshold: scratch(8 * numRows) },
        ...{ candidates: scratch(layout.candidateBytes), sums: scratch(8 * numRows * numChunks(vocabSize)) },
      },
    );
    await submit(gpu, [call(op, { numLogits: numRows })]);
    const bytes = await gpu.pool.read(results, 0, layout.resultBytes);
    const best = new Uint32Array(bytes, layout.best.offset, numRows * NUM_BEST);
    const bestLogProbs = new Float32Array(bytes, layout.bestLogProbs.offset, numRows * NUM_BEST);
    const ofDrawn = new Float32Array(bytes, layout.drawnLogProbs.offset, numRows);
    // Sums of 1,500 exponentials in f32, each of them within 3 + 2|x| units in the last place (WGSL's exp).
    const tolerance = 1e-4;
    for (const [i, row] of logits.entries()) {
      const greedy = { ...PLAIN, temperature: 0 };
      const ranked = rankTokens(Float64Array.from(row), inPlay(Float64Array.from(row), greedy), greedy);
      const expected = logShares(ranked);
      const numBest = Math.min(NUM_BEST, vocabSize);
      const ids = best.subarray(i * NUM_BEST, (i + 1) * NUM_BEST);
      expect([...ids]).toEqual([
        ...ranked.slice(0, numBest).map(({ token }) => token),
        ...Array<number>(NUM_BEST - numBest).fill(NO_TOKEN),
      ]);
      for (const [rank, logProb] of expected.slice(0, numBest).entries()) {
        expect(Math.abs((bestLogProbs[i * NUM_BEST + rank] ?? Number.NaN) - logProb)).toBeLessThan(tolerance);
      }
      const place = ranked.findIndex(({ token }) => token === drawn[i]);
      expect(Math.abs((ofDrawn[i] ?? Number.NaN) - (expected[place] ?? 0))).toBeLessThan(tolerance);
    }
  },
);
