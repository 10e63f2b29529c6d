import { uniform } from "./toy-model.ts";

export const VOCAB = [0, 1, 2] as const;
/** Tokens of an enumerated text: two levels of a draft tree, and the bonus token. */
export const TEXT_LEN = 3;

/** Probabilities of the token after a prefix of 0 … 2 tokens. */
export type Distribution = (prefix: readonly number[]) => readonly number[];

/** Draws an index: the program is run once for every way its draws can come out. */
export type Choose = (probs: readonly number[]) => number;

/** A model with probabilities between near 0 and near 1. */
export function randomModel(seed: number): Distribution {
  return (prefix) => normalize(VOCAB.map((token) => uniform(seed, ...prefix, token) ** 3 + 0.001));
}

/** A draft model that is half right. */
export function mixed(a: Distribution, b: Distribution): Distribution {
  return (prefix) => normalize(VOCAB.map((token) => (a(prefix)[token] ?? 0) + (b(prefix)[token] ?? 0)));
}

export function normalize(weights: readonly number[]): number[] {
  const total = weights.reduce((sum, weight) => sum + weight, 0);
  return weights.map((weight) => weight / total);
}

/** Exact distribution of what a random program gives, keyed by the tokens joined. */
export function enumerate(program: (choose: Choose) => readonly number[]): Map<string, number> {
  const result = new Map<string, number>();
  const open: number[][] = [[]];
  for (let script = open.pop(); script !== undefined; script = open.pop()) {
    let [probability, numDraws] = [1, 0];
    const fixed: readonly number[] = script;
    const taken: number[] = [];
    const outcome = program((probs) => {
      const index = fixed[numDraws++] ?? probs.findIndex((prob) => prob > 0);
      if (numDraws > fixed.length) {
        for (const [other, prob] of probs.entries()) if (other > index && prob > 0) open.push([...taken, other]);
      }
      taken.push(index);
      probability *= probs[index] ?? 0;
      return index;
    });
    const key = outcome.join();
    result.set(key, (result.get(key) ?? 0) + probability);
  }
  return result;
}

/** The token that a uniform in (0, 1) draws. */
export function invert(probs: readonly number[], noise: number): number {
  const [first = 0, second = 0] = cumulative(probs);
  return noise < first ? 0 : noise < second ? 1 : 2;
}

/**
 * For each position, the parts of (0, 1) within which no model's draw changes, whatever the prefix: a middle of each stands
 * for all of it, so that sums over parts are exact.
 */
export function cellsOf(models: readonly Distribution[]) {
  const prefixes: number[][][] = [[[]]];
  while (prefixes.length < TEXT_LEN) {
    prefixes.push((prefixes.at(-1) ?? []).flatMap((prefix) => VOCAB.map((token) => [...prefix, token])));
  }
  return prefixes.map((ofPosition) => {
    const bounds = ofPosition.flatMap((prefix) => models.flatMap((model) => cumulative(model(prefix))));
    const sorted = [...new Set([0, ...bounds, 1])].sort((a, b) => a - b);
    const widths = sorted.slice(1).map((bound, i) => bound - (sorted[i] ?? 0));
    return { widths, middles: widths.map((width, i) => (sorted[i] ?? 0) + width / 2) };
  });
}

/** Bounds between tokens. */
function cumulative([first = 0, second = 0]: readonly number[]): number[] {
  return [first, first + second];
}

export function totalVariation(a: ReadonlyMap<string, number>, b: ReadonlyMap<string, number>): number {
  const keys = new Set([...a.keys(), ...b.keys()]);
  return [...keys].reduce((sum, key) => sum + Math.abs((a.get(key) ?? 0) - (b.get(key) ?? 0)), 0) / 2;
}

/** Plain sampling: one token after the other. */
export function plainText(target: Distribution): Map<string, number> {
  return enumerate((choose) => complete([], target, choose));
}

/** The text's missing tokens, by plain sampling. */
export function complete(emitted: readonly number[], target: Distribution, choose: Choose): number[] {
  const text = emitted.slice(0, TEXT_LEN);
  while (text.length < TEXT_LEN) text.push(choose(target(text)));
  return text;
}
