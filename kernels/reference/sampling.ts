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

/**
 * The lowest z in play: of the topK largest (ties stay) the smallest set of best ones with topP of their mass, and none
 * below minP of the best one's probability. Found by sorting; −∞ where nothing is filtered.
 */
export function cutOff(z: Float64Array, { temperature, topK, topP, minP }: SamplingRow): number {
  if (temperature === 0) return NEVER_DRAWN;
  const sorted = [...z].sort((a, b) => b - a);
  const best = sorted[0] ?? 0;
  let cut = topK > 0 && topK < sorted.length ? (sorted[topK - 1] ?? 0) : NEVER_DRAWN;
  if (topP < 1) {
    const kept = sorted.filter((value) => value >= cut && value > NEVER_DRAWN);
    const wanted = topP * kept.reduce((sum, value) => sum + Math.exp(value - best), 0);
    let mass = 0;
    for (const value of kept) {
      cut = value;
      mass += Math.exp(value - best);
      if (mass >= wanted) break;
    }
  }
  return minP > 0 ? Math.max(cut, best + Math.log(minP)) : cut;
}

/** A token in play and score = z + noise (a greedy row's score is the logit). */
export interface ScoredToken {
  readonly token: number;
  readonly score: number;
}

/** Tokens with z ≥ cut, best score first, lower ids first among equals. The first is the draw. */
export function rankTokens(z: Float64Array, cut: number, row: SamplingRow): ScoredToken[] {
  return Array.from(z, (value, token) => ({ token, value }))
    .filter(({ value }) => value >= cut && value > NEVER_DRAWN)
    .map(({ token, value }) => ({ token, score: row.temperature === 0 ? value : value + gumbelNoise(row, token) }))
    .sort((a, b) => b.score - a.score || a.token - b.token);
}

/** log softmax of the scores, in the order given. */
export function logShares(ranked: readonly ScoredToken[]): number[] {
  const best = ranked[0]?.score ?? 0;
  const total = ranked.reduce((sum, { score }) => sum + Math.exp(score - best), 0);
  return ranked.map(({ score }) => score - best - Math.log(total));
}
