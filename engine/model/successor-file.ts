import { existsSync } from "node:fs";
import { join } from "node:path";
import { toHalf } from "../../kernels/f16.ts";
import { ModelFileError } from "../errors.ts";
import { weightsDigest } from "./digest.ts";
import { SafetensorsWeights } from "./safetensors-weights.ts";
import { writeSafetensors } from "./safetensors-writer.ts";

/** Beside a drafter's weights, in its folder. */
export const SUCCESSOR_FILE = "successors.safetensors";
const [TOKENS, RATIOS, OTHERS] = ["token_ids", "log_ratios", "other_log_ratios"] as const;

/** Which tokens a model has after which, when it knows no more of a text: for each token its likeliest successors. */
export interface Successors {
  readonly numSuccessors: number;
  /** [vocabSize, numSuccessors], rising in each row. */
  readonly tokenIds: ArrayLike<number>;
  /** f32 [vocabSize, numSuccessors]: log of how many times likelier the token is there than on average over all rows. */
  readonly logRatios: Float32Array;
  /** f32 [vocabSize]: the same of every other token. */
  readonly others: Float32Array;
}

/**
 * A drafter's table with a digest of its file; undefined where its folder has none.
 * @throws ModelFileError where it is damaged
 */
export function readSuccessors(folder: string): (Successors & { readonly digest: string }) | undefined {
  const path = join(folder, SUCCESSOR_FILE);
  if (!existsSync(path)) return undefined;
  const file = SafetensorsWeights.open(folder, SUCCESSOR_FILE);
  try {
    const malformed = (problem: string) => new ModelFileError("malformed", path, problem);
    const tokenIds = file.readIntegers(TOKENS);
    if (tokenIds === undefined) throw malformed(`no tensor ${TOKENS}`);
    const [logRatios, others] = [file.readF32(RATIOS), file.readF32(OTHERS)];
    const numSuccessors = tokenIds.length / others.length;
    if (!Number.isInteger(numSuccessors) || logRatios.length !== tokenIds.length) {
      const sizes = `${tokenIds.length} ${TOKENS}, ${logRatios.length} ${RATIOS}, ${others.length} ${OTHERS}`;
      throw malformed(`its tensors do not go together: ${sizes}`);
    }
    const wrong = tokenIds.findIndex((token, i) => {
      const isFirst = i % numSuccessors === 0;
      return token < 0 || token >= others.length || (!isFirst && token <= (tokenIds[i - 1] ?? 0));
    });
    if (wrong >= 0) {
      throw malformed(`${TOKENS}[${wrong}] is ${tokenIds[wrong]}: rows hold rising tokens below ${others.length}`);
    }
    if (![...logRatios, ...others].every(Number.isFinite)) throw malformed("holds what is not a number");
    return { numSuccessors, tokenIds, logRatios, others, digest: weightsDigest(file.files) };
  } finally {
    file.close();
  }
}

/** Bytes of such a file. */
export function successorFile({ numSuccessors, tokenIds, logRatios, others }: Successors): Uint8Array {
  const half = (values: Float32Array) => new Uint8Array(toHalf(values).buffer);
  const shape = [others.length, numSuccessors];
  return writeSafetensors({
    [TOKENS]: { dtype: "I32", shape, data: new Uint8Array(Int32Array.from(tokenIds).buffer) },
    [RATIOS]: { dtype: "F16", shape, data: half(logRatios) },
    [OTHERS]: { dtype: "F16", shape: [others.length], data: half(others) },
  });
}
