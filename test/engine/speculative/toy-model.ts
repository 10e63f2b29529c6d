import type { ChildLookup, DraftTree } from "../../../engine/speculative/draft-tree.ts";
import { pathOf } from "../../../engine/speculative/draft-tree.ts";

/** 32-bit hash of some integers (FNV-1a over words, then the finaliser of MurmurHash3). */
export function hash(...words: readonly number[]): number {
  let h = 0x811c9dc5;
  for (const word of words) h = Math.imul(h ^ word, 0x01000193);
  h = Math.imul(h ^ (h >>> 16), 0x85ebca6b);
  h = Math.imul(h ^ (h >>> 13), 0xc2b2ae35);
  return (h ^ (h >>> 16)) >>> 0;
}

/** In (0, 1). */
export function uniform(...words: readonly number[]): number {
  return (hash(...words) + 0.5) / 2 ** 32;
}

export interface ToyModel {
  readonly seed: number;
  readonly vocabSize: number;
}

/** Logits that depend on the whole prefix and on nothing else, as a language model's. */
export function logits({ seed, vocabSize }: ToyModel, prefix: readonly number[]): number[] {
  return Array.from({ length: vocabSize }, (_, token) => 4 * uniform(seed, ...prefix, token));
}

/** Who draws: all that the noise depends on besides position and token. */
export interface Draw {
  readonly temperature: number;
  readonly seed: number;
  readonly choice: number;
}

/** Scores whose arg-max is the draw of the successor of `prefix`: logit / T + Gumbel noise of its position. */
export function scores(model: ToyModel, prefix: readonly number[], { temperature, seed, choice }: Draw): number[] {
  const raw = logits(model, prefix);
  if (temperature === 0) return raw;
  const noise = (token: number) => -Math.log(-Math.log(uniform(seed, choice, prefix.length, token, 77)));
  return raw.map((logit, token) => logit / temperature + noise(token));
}

export function sampleNext(model: ToyModel, prefix: readonly number[], draw: Draw): number {
  const all = scores(model, prefix, draw);
  return all.indexOf(Math.max(...all));
}

/** Decodes token by token. */
export function decode(model: ToyModel, prompt: readonly number[], numTokens: number, draw: Draw): number[] {
  const tokens = [...prompt];
  while (tokens.length < prompt.length + numTokens) tokens.push(sampleNext(model, tokens, draw));
  return tokens.slice(prompt.length);
}

/** What the target draws at every node of a tree below `known`, whose last token is the root. */
export function sampleTree(model: ToyModel, known: readonly number[], tree: DraftTree, draw: Draw): number[] {
  return tree.tokenIds.map((_, node) => {
    const tokens = pathOf(tree, node).map((at) => tree.tokenIds[at] ?? -1);
    return sampleNext(model, [...known, ...tokens], draw);
  });
}

/** `childOf` as its definition says: a scan over all nodes. */
export function scanForChild({ tokenIds, parents }: DraftTree): ChildLookup {
  return (node, tokenId) => {
    const child = tokenIds.findIndex((token, i) => token === tokenId && parents[i] === node);
    return child < 0 ? undefined : child;
  };
}
