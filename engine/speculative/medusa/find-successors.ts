import { type AdapterChoice, createGpuContext, NO_TOKEN, openGpu } from "../../../kernels/index.ts";
import { BLOCK_SIZE } from "../../../kvcache/ids.ts";
import { resolveModel } from "../../model/bundled.ts";
import { checkKernelSizes } from "../../model/llama.ts";
import { openModel } from "../../model/open.ts";
import type { Successors } from "../../model/successor-file.ts";
import { ModelRunner } from "../../runner/model-runner.ts";
import { GREEDY } from "../../sampling-params.ts";

/** Successors of each token: with twice as many drafts of the bundled model are hardly better. */
const NUM_SUCCESSORS = 16;
/** Tokens of a pass. */
const NUM_ROWS = 64;
const SAMPLING = { params: GREEDY, choice: 0 };

/** What a model says after one token. */
export interface FoundRow {
  /** The likeliest tokens, and logs of their probabilities. */
  readonly tokenIds: readonly number[];
  readonly logShares: readonly number[];
}

/**
 * Asks a model what comes after each token of its vocabulary, when it knows nothing else of the text.
 * @param progress is told how many tokens are done, and of how many
 * @throws ModelFileError, GpuError
 */
export async function findSuccessors(
  model: string,
  adapter: AdapterChoice,
  progress: (numDone: number, numTokens: number) => void,
): Promise<Successors> {
  const { config, weights, text, path } = openModel(resolveModel(model));
  try {
    checkKernelSizes(config, path);
    const device = await openGpu(adapter);
    try {
      const before = text?.addBos && text.bosTokenId !== undefined ? [text.bosTokenId] : [];
      const length = before.length + 1;
      // The first block is reserved.
      const sizes = {
        maxRows: length * NUM_ROWS,
        maxLogits: NUM_ROWS,
        numBlocks: 1 + NUM_ROWS,
        maxTableWords: NUM_ROWS,
      };
      const numSuccessors = Math.min(NUM_SUCCESSORS, config.vocabSize - 1);
      const options = { ...sizes, maxModelLen: BLOCK_SIZE, topK: numSuccessors };
      const runner = await ModelRunner.create(createGpuContext(device), { config, weights }, options);
      const rows: FoundRow[] = [];
      while (rows.length < config.vocabSize) {
        const numRows = Math.min(NUM_ROWS, config.vocabSize - rows.length);
        const sequences = Array.from({ length: numRows }, (_, i) => ({
          ...{ tokenIds: [...before, rows.length + i], startPosition: 0, numTokens: length, rootPosition: length - 1 },
          ...{ blockTable: [1 + i], sampling: SAMPLING },
        }));
        const drawn = await runner.run(sequences);
        for (let i = 0; i < numRows; i++) {
          const [from, to] = [i * numSuccessors, (i + 1) * numSuccessors];
          const logShares = [...drawn.logShares.subarray(from, to)];
          const row = { tokenIds: [...drawn.tokenIds.subarray(from, to)], logShares };
          if (row.tokenIds.includes(NO_TOKEN))
            throw new Error(`what ${model} says after token ${rows.length} is no number`);
          rows.push(row);
        }
        progress(rows.length, config.vocabSize);
      }
      return successorsOf(rows);
    } finally {
      device.close();
    }
  } finally {
    weights.close();
  }
}

/** Probabilities below this are taken for it: their logs would say more than is known. */
const LEAST = 1e-6;

/**
 * How many times likelier each token of a row's list is there than on average over all rows. What a list leaves out shares the rest of its
 * row: in the average evenly, and beside it by what is likely elsewhere. Pure.
 * @param rows of each token of the vocabulary, with lists of one length, which is less than that of the vocabulary
 */
export function successorsOf(rows: readonly FoundRow[]): Successors {
  const vocabSize = rows.length;
  const numSuccessors = rows[0]?.tokenIds.length ?? 0;
  const lists = rows.map(({ tokenIds, logShares }) => {
    const list = tokenIds.map((tokenId, i) => ({ tokenId, prob: Math.exp(logShares[i] ?? -Infinity) }));
    list.sort((a, b) => a.tokenId - b.tokenId);
    return { list, rest: Math.max(LEAST, 1 - sum(list.map(({ prob }) => prob))) };
  });
  const numOthers = vocabSize - numSuccessors;
  const average = new Float64Array(vocabSize).fill(sum(lists.map(({ rest }) => rest)) / numOthers / vocabSize);
  for (const { list, rest } of lists) {
    for (const { tokenId, prob } of list) {
      average[tokenId] = (average[tokenId] ?? 0) + (prob - rest / numOthers) / vocabSize;
    }
  }
  const logOf = (prob: number) => Math.log(Math.max(LEAST, prob));
  const averageOf = (tokenId: number) => average[tokenId] ?? 0;
  return {
    numSuccessors,
    tokenIds: lists.flatMap(({ list }) => list.map(({ tokenId }) => tokenId)),
    logRatios: Float32Array.from(
      lists.flatMap(({ list }) => list.map(({ tokenId, prob }) => logOf(prob) - logOf(averageOf(tokenId)))),
    ),
    others: Float32Array.from(
      lists,
      ({ list, rest }) => Math.log(rest) - logOf(1 - sum(list.map(({ tokenId }) => averageOf(tokenId)))),
    ),
  };
}

function sum(values: readonly number[]): number {
  return values.reduce((total, value) => total + value, 0);
}
