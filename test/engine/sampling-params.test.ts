import { expect, it } from "vitest";
import { GREEDY, refusalOf, type SamplingParams } from "../../engine/sampling-params.ts";

const DRY = { multiplier: 1, base: 2, allowedLength: 2, breakers: [] };

it.each<readonly [Partial<SamplingParams>, RegExp]>([
  [{ logitBias: Array.from({ length: 1025 }, (_, i) => [i, 1] as const) }, /1025 tokens have a bias, at most 1024/],
  [{ stopTokenIds: Array(129).fill(1) }, /129 tokens end the sequence, at most 128/],
  [{ stopTokenIds: [2000] }, /token id 2000 .* 0 to 1999/],
  [{ logitBias: [[-1, 1]] }, /token id -1/],
  [{ dry: { ...DRY, breakers: [0.5] } }, /token id 0\.5/],
  [{ logprobs: 21 }, /21 best tokens .* 0 to 20/],
  [{ logprobs: Number.NaN }, /NaN best tokens/],
  [{ repetitionPenalty: 0 }, /repetition penalty is 0/],
  [{ presencePenalty: Number.POSITIVE_INFINITY }, /one is Infinity/],
  [{ logitBias: [[1, Number.NaN]] }, /one is NaN/],
  [{ dry: { ...DRY, base: Number.NaN } }, /one is NaN/],
])("what is out of range is named, with value and limit (%#)", (params, message) => {
  expect(refusalOf({ ...GREEDY, ...params }, 2000)).toMatch(message);
});

it("everything else can", () => {
  expect(refusalOf(GREEDY, 1)).toBeUndefined();
  const full = { logprobs: 20, dry: DRY, logitBias: [[0, -100]] as const, stopTokenIds: [0], repetitionPenalty: 0.01 };
  expect(refusalOf({ ...GREEDY, ...full }, 1)).toBeUndefined();
});
