import type { Candidate } from "../tree-builder.ts";

/** How many candidates a position gets where the best one's probability is at most `upTo`. */
export interface CapeStep {
  readonly upTo: number;
  readonly numCandidates: number;
}

/**
 * Widths by default. Bounds and numbers are those of the paper (arXiv 2402.02082, section 3.2), which counts otherwise: there they are
 * the candidates besides the greedy one, all of them leaves, since the proposal goes on below the greedy token alone. Here they
 * count the greedy one too, and any candidate may be expanded if its estimate is good enough; what the paper spends on leaves goes into
 * branches.
 */
export const CAPE_STEPS: readonly CapeStep[] = [
  { upTo: 0.3, numCandidates: 7 },
  { upTo: 0.6, numCandidates: 5 },
  { upTo: 0.8, numCandidates: 3 },
  { upTo: 1, numCandidates: 1 },
];

/** Candidates of a position at most, by any step. */
export function mostCandidates(steps: readonly CapeStep[]): number {
  return Math.max(...steps.map(({ numCandidates }) => numCandidates));
}

/**
 * f32 [steps, 2] of (ln upTo, candidates): what both the host and the kernels (wgsl/draft_width_cape.wgsl) compare log shares with,
 * so that both grow the same tree.
 */
export function capeWidths(steps: readonly CapeStep[]): Float32Array<ArrayBuffer> {
  return Float32Array.from(steps.flatMap(({ upTo, numCandidates }) => [Math.log(upTo), numCandidates]));
}

/**
 * Confidence-aware proposal expansion (CaPE): the surer the drafter is of its best candidate, the fewer others it takes along.
 * @param candidates of one position, best first
 * @param steps in ascending order
 */
export function widenByConfidence(candidates: readonly Candidate[], steps: readonly CapeStep[]): readonly Candidate[] {
  const best = candidates[0]?.logSurvival ?? -Infinity;
  const step = steps.find(({ upTo }) => best <= Math.fround(Math.log(upTo))) ?? steps.at(-1);
  return candidates.slice(0, step?.numCandidates ?? candidates.length);
}
