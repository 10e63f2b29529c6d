import { type Choose, complete, type Distribution, normalize, VOCAB } from "./enumeration.ts";

/** A drafted sibling, and the probabilities that the ratio test takes it to be drawn from. */
export interface Drafted {
  readonly tokenId: number;
  readonly claimed: readonly number[];
}

/** Draws siblings from the draft's probabilities. */
export type DraftRule = (draftProbs: readonly number[], choose: Choose) => readonly Drafted[];

/**
 * Recursive rejection over two levels (SpecInfer, arXiv 2305.09781; Leviathan et al., arXiv 2211.17192): accept a sibling
 * with probability min(1, target / draft), else go on with the rest max(0, target − draft). Whether that is exact is
 * up to the rule: siblings must have been drawn from the very probabilities that are claimed.
 */
export function recursiveRejection(target: Distribution, draft: Distribution, rule: DraftRule, choose: Choose) {
  const text: number[] = [];
  for (let level = 0; level < 2; level++) {
    const { tokenId, accepted } = verifyLevel(target(text), rule(draft(text), choose), choose);
    text.push(tokenId);
    if (!accepted) break;
  }
  return complete(text, target, choose);
}

function verifyLevel(targetProbs: readonly number[], siblings: readonly Drafted[], choose: Choose) {
  let rest = targetProbs;
  for (const { tokenId, claimed } of siblings) {
    const ratio = Math.min(1, (rest[tokenId] ?? 0) / (claimed[tokenId] ?? 1));
    if (choose([ratio, 1 - ratio]) === 0) return { tokenId, accepted: true };
    const left = rest.map((prob, token) => Math.max(0, prob - (claimed[token] ?? 0)));
    rest = left.some((prob) => prob > 0) ? normalize(left) : targetProbs;
  }
  return { tokenId: choose(rest), accepted: false };
}

/** Exact: two siblings without replacement, the second one drawn from, and claimed as, the renormalised rest. */
export const withoutReplacement: DraftRule = (draftProbs, choose) => {
  const tokenId = choose(draftProbs);
  const rest = without(draftProbs, tokenId);
  return [
    { tokenId, claimed: draftProbs },
    { tokenId: choose(rest), claimed: rest },
  ];
};

/** Lossy: the best two are certain to be drafted, but the test takes them for draws. */
const topTwoAsDraws: DraftRule = (draftProbs) => {
  const [first = 0, second = 0] = ranked(draftProbs);
  return [
    { tokenId: first, claimed: draftProbs },
    { tokenId: second, claimed: without(draftProbs, first) },
  ];
};

/** Lossy: two draws, of which the likelier one is tested first. */
const rerankedDraws: DraftRule = (draftProbs, choose) => {
  const [first, second] = withoutReplacement(draftProbs, choose);
  const order = ranked(draftProbs);
  const [a = 0, b = 0] = [first, second].map((drafted) => drafted?.tokenId ?? 0);
  const [best, other] = order.indexOf(a) < order.indexOf(b) ? [a, b] : [b, a];
  return [
    { tokenId: best, claimed: draftProbs },
    { tokenId: other, claimed: without(draftProbs, best) },
  ];
};

/** Lossy: drawn from the best two, tested with the probabilities of all three. */
const truncatedDraw: DraftRule = (draftProbs, choose) => {
  const best = new Set(ranked(draftProbs).slice(0, 2));
  const truncated = normalize(draftProbs.map((prob, token) => (best.has(token) ? prob : 0)));
  return [{ tokenId: choose(truncated), claimed: draftProbs }];
};

/** Lossy: a draw that the draft thinks little of is dropped before it is tested. */
const droppedDraw: DraftRule = (draftProbs, choose) => {
  const tokenId = choose(draftProbs);
  return (draftProbs[tokenId] ?? 0) < 0.3 ? [] : [{ tokenId, claimed: draftProbs }];
};

/** Each with a total variation that it exceeds on average over models. */
export const LOSSY: readonly { readonly name: string; readonly rule: DraftRule; readonly bound: number }[] = [
  { name: "top-k children tested as if they had been drawn", rule: topTwoAsDraws, bound: 0.25 },
  { name: "draws reranked before the test", rule: rerankedDraws, bound: 0.15 },
  { name: "draw from the truncated draft, ratio with the raw one", rule: truncatedDraw, bound: 0.08 },
  { name: "unlikely draws dropped before the test", rule: droppedDraw, bound: 0.1 },
];

function without(probs: readonly number[], tokenId: number): number[] {
  return normalize(probs.map((prob, token) => (token === tokenId ? 0 : prob)));
}

function ranked(probs: readonly number[]): number[] {
  return VOCAB.toSorted((a, b) => (probs[b] ?? 0) - (probs[a] ?? 0));
}
