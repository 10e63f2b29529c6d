import { ModelRunner } from "../engine/runner/model-runner.ts";
import { GREEDY } from "../engine/sampling-params.ts";
import type { GpuContext } from "../kernels/index.ts";
import { BLOCK_SIZE } from "../kvcache/ids.ts";
import type { BenchModel } from "./bench-model.ts";

/** How far logits lie from those of exact keys and values. */
export interface KvError {
  readonly numTokens: number;
  readonly meanAbsDelta: number;
  readonly maxAbsDelta: number;
  /** Mean KL divergence from the exact distribution, nats. */
  readonly meanKl: number;
  /** Of the texts' own next tokens: by the exact logits, and by these. */
  readonly exactPerplexity: number;
  readonly perplexity: number;
  /** Tokens whose likeliest successor is the exact one. */
  readonly sameBest: number;
}

/** Logits of a text's tokens and the token that follows each. */
export interface TextLogits {
  readonly logits: readonly Float32Array[];
  readonly next: readonly number[];
}

/** Rows of a pass. */
const MAX_ROWS = 32;

/** Logits after every token but the last of each text, by a model whose keys and values are stored as the context's family says. */
export async function textLogits(
  gpu: GpuContext,
  { config, weights }: Pick<BenchModel, "config" | "weights">,
  texts: readonly (readonly number[])[],
): Promise<TextLogits> {
  const maxModelLen = Math.max(...texts.map(({ length }) => length));
  const numBlocks = 1 + Math.ceil(maxModelLen / BLOCK_SIZE);
  const runner = await ModelRunner.create(
    gpu,
    { config, weights },
    {
      ...{ maxRows: MAX_ROWS, maxLogits: MAX_ROWS, maxModelLen, numBlocks, topK: 1 },
      maxTableWords: numBlocks + MAX_ROWS ** 2,
    },
  );
  const blockTable = Array.from({ length: numBlocks - 1 }, (_, i) => i + 1);
  const logits: Float32Array[] = [];
  for (const tokenIds of texts) {
    for (let root = 0; root < tokenIds.length - 1; root += MAX_ROWS) {
      // A chain of tree nodes has logits for each of its tokens, and its slots are those of its positions.
      const chain = tokenIds.slice(root, Math.min(root + MAX_ROWS, tokenIds.length - 1));
      const tree = {
        ...{ tokenIds: chain, parents: chain.map((_, i) => i - 1), depths: chain.map((_, i) => i), firstNode: 1 },
      };
      const sampling = { params: GREEDY, choice: 0 };
      await runner.run([
        { tokenIds, startPosition: root, numTokens: 1, blockTable, rootPosition: root, tree, sampling },
      ]);
      for (const row of await runner.readLogits()) logits.push(row.slice(0, config.vocabSize));
    }
  }
  return { logits, next: texts.flatMap((tokenIds) => tokenIds.slice(1)) };
}

/** @param exact of the same texts */
export function kvError(exact: TextLogits, actual: TextLogits): KvError {
  const numTokens = exact.logits.length;
  let [sum, most, kl, exactLoss, loss, sameBest, count] = [0, 0, 0, 0, 0, 0, 0];
  for (const [i, wanted] of exact.logits.entries()) {
    const found = actual.logits[i];
    const next = exact.next[i] ?? 0;
    if (found === undefined || found.length !== wanted.length) throw new RangeError("logits of other texts");
    const [p, q] = [logSoftmax(wanted), logSoftmax(found)];
    for (const [token, value] of wanted.entries()) {
      const delta = Math.abs(value - (found[token] ?? Number.NaN));
      sum += delta;
      most = Math.max(most, delta);
      const share = p[token] ?? 0;
      kl += Math.exp(share) * (share - (q[token] ?? 0));
    }
    count += wanted.length;
    exactLoss -= p[next] ?? 0;
    loss -= q[next] ?? 0;
    if (best(wanted) === best(found)) sameBest++;
  }
  return {
    ...{ numTokens, meanAbsDelta: sum / count, maxAbsDelta: most, meanKl: kl / numTokens, sameBest },
    exactPerplexity: Math.exp(exactLoss / numTokens),
    perplexity: Math.exp(loss / numTokens),
  };
}

function logSoftmax(logits: Float32Array): Float64Array {
  const top = logits.reduce((a, b) => Math.max(a, b));
  const total = logits.reduce((sum, value) => sum + Math.exp(value - top), 0);
  return Float64Array.from(logits, (value) => value - top - Math.log(total));
}

function best(logits: Float32Array): number {
  return logits.reduce((found, value, token) => (value > (logits[found] ?? 0) ? token : found), 0);
}
