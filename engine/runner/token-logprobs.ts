import { NO_TOKEN, NUM_BEST } from "../../kernels/index.ts";

/** The target's log-probabilities at one emitted token: log softmax of its raw logits, before any setting of the request. */
export interface TokenLogprobs {
  readonly logprob: number;
  /** The best tokens, likeliest first; as many as were asked for. */
  readonly top: readonly { readonly tokenId: number; readonly logprob: number }[];
}

/** Log-probabilities of a pass, in the order of the rows that sampled. */
export interface RowLogprobs {
  /** u32 and f32 [numLogits, NUM_BEST], best first */
  readonly best: Uint32Array;
  readonly bestLogprobs: Float32Array;
  /** f32 [numLogits]: of the tokens that were drawn */
  readonly drawn: Float32Array;
}

/** Those of the tokens drawn along a path. @param rows one for each of `tokenIds` */
export function pathLogprobs(
  { best, bestLogprobs, drawn }: RowLogprobs,
  rows: readonly number[],
  tokenIds: readonly number[],
  numTop: number,
): TokenLogprobs[] {
  return tokenIds.map((tokenId, i) => {
    const row = rows[i] ?? 0;
    const ids = best.subarray(row * NUM_BEST, (row + 1) * NUM_BEST);
    const logprobs = bestLogprobs.subarray(row * NUM_BEST, (row + 1) * NUM_BEST);
    const top = Array.from(ids.subarray(0, numTop), (id, rank) => ({ tokenId: id, logprob: logprobs[rank] ?? 0 }));
    // The same number in both places, to the last bit.
    const logprob = logprobs[ids.indexOf(tokenId)] ?? drawn[row] ?? 0;
    return { logprob, top: top.filter((one) => one.tokenId !== NO_TOKEN) };
  });
}
