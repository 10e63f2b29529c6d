import { inverseTemperature, type SamplingRow } from "../ops/sampling.ts";

const NEVER_DRAWN = Number.NEGATIVE_INFINITY;
const HIGHEST = Math.fround(3e38);

/** A 32-bit finaliser, "lowbias32" (C. Wellons, hash-prospector). */
function mix32(value: number): number {
  let x = value >>> 0;
  x = Math.imul(x ^ (x >>> 16), 0x7feb352d) >>> 0;
  x = Math.imul(x ^ (x >>> 15), 0x846ca68b) >>> 0;
  return (x ^ (x >>> 16)) >>> 0;
}

/** The very noise of wgsl/gumbel.wgsl, with logarithms in f64. */
export function gumbelNoise({ seed, choice, position }: SamplingRow, token: number): number {
  const a = mix32(mix32(mix32(seed[0] ^ 0x9e3779b9) + position) + choice);
  const b = mix32(mix32(mix32(seed[1] ^ 0x85ebca6b) ^ a) + position);
  const hash = mix32(mix32(Math.imul(token, 0x9e3779b9) + a) ^ b);
  const f32Sum = Math.fround(Math.fround(hash) + 0.5);
  const v = Math.min(f32Sum / 2 ** 32, Math.fround(0.99999994));
  return -Math.log(-Math.log1p(-v));
}

/** z = logit / T, rounded as the kernels round it; the raw logit where T is 0. NaN and −∞ are never drawn; +∞ is 3e38. */
export function scaledLogits(logits: Float32Array, temperature: number): Float64Array {
  const inverse = temperature === 0 ? 1 : Math.fround(inverseTemperature(temperature));
  return Float64Array.from(logits, (logit) => {
    const z = Math.fround(logit * inverse);
    return z > -HIGHEST ? Math.min(z, HIGHEST) : NEVER_DRAWN;
  });
}

/** Values of z from `low` to `high` are in play. */
export interface InPlay {
  readonly low: number;
  readonly high: number;
}

/**
 * The z in play: of the topK largest (ties stay) the smallest set of those nearest to the mean of z with typicalP of their mass,
 * of those the smallest set of best ones with topP of their mass, and none below minP of the best one's probability. Found by
 * sorting; everything where nothing is filtered.
 * @param meanError added to the mean of z: what is in play whatever its sign does not hang on rounding
 */
export function inPlay(
  z: Float64Array,
  { temperature, topK, typicalP, topP, minP }: SamplingRow,
  meanError = 0,
): InPlay {
  const all = { low: NEVER_DRAWN, high: Number.POSITIVE_INFINITY };
  if (temperature === 0) return all;
  let kept = [...z].filter((value) => value > NEVER_DRAWN).sort((a, b) => b - a);
  if (kept.length === 0) return all;
  if (topK > 0 && topK < z.length) {
    const cut = kept[topK - 1] ?? NEVER_DRAWN;
    kept = kept.filter((value) => value >= cut);
  }
  if (typicalP < 1) {
    const [best = 0, mass] = [kept[0], massOf(kept)];
    const mean =
      meanError + best + kept.reduce((sum, value) => sum + (Math.exp(value - best) * (value - best)) / mass, 0);
    const distance = (value: number) => Math.abs(value - mean);
    const nearest = leastWithMass(
      [...kept].sort((a, b) => distance(a) - distance(b)),
      typicalP,
      best,
    );
    const edge = distance(nearest.at(-1) ?? mean);
    kept = kept.filter((value) => distance(value) <= edge);
  }
  if (topP < 1) kept = leastWithMass(kept, topP, kept[0] ?? 0);
  const high = kept[0] ?? 0;
  const low = kept.at(-1) ?? 0;
  return { low: minP > 0 ? Math.max(low, high + Math.log(minP)) : low, high };
}

/** Σ exp(z − best), of values in descending order. */
function massOf(values: readonly number[]): number {
  return values.reduce((sum, value) => sum + Math.exp(value - (values[0] ?? 0)), 0);
}

/** The first of `values` that have `share` of the mass of all; what equals the last of them is the caller's to add. */
function leastWithMass(values: readonly number[], share: number, best: number): number[] {
  const weight = (value: number) => Math.exp(value - best);
  const wanted = share * values.reduce((sum, value) => sum + weight(value), 0);
  let mass = 0;
  const end = values.findIndex((value) => {
    mass += weight(value);
    return mass >= wanted;
  });
  return end < 0 ? [...values] : values.slice(0, end + 1);
}

/** A token in play and score = z + noise (a greedy row's score is the logit). */
export interface ScoredToken {
  readonly token: number;
  readonly score: number;
}

/** Tokens whose z is in play, best score first, lower ids first among equals. The first is the draw. */
export function rankTokens(z: Float64Array, { low, high }: InPlay, row: SamplingRow): ScoredToken[] {
  return Array.from(z, (value, token) => ({ token, value }))
    .filter(({ value }) => value >= low && value <= high && value > NEVER_DRAWN)
    .map(({ token, value }) => ({ token, score: row.temperature === 0 ? value : value + gumbelNoise(row, token) }))
    .sort((a, b) => b.score - a.score || a.token - b.token);
}

/** log softmax of the scores, in the order given. */
export function logShares(ranked: readonly ScoredToken[]): number[] {
  const best = ranked[0]?.score ?? 0;
  const total = ranked.reduce((sum, { score }) => sum + Math.exp(score - best), 0);
  return ranked.map(({ score }) => score - best - Math.log(total));
}
