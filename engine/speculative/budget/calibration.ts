import { type DraftTree, siblingRanks, survivals } from "../draft-tree.ts";
import type { JudgedDraft } from "./verified-draft.ts";

const NUM_BINS = 10;
/** Siblings from this rank on are one class. */
const MAX_RANK = 3;
/** Weight of the drafter's own word, in observations. */
const PRIOR = 8;
/** Observations of a bin beyond which older ones lose weight. */
const WINDOW = 2000;

interface Bin {
  /** Σ of what was estimated. */
  estimated: number;
  accepted: number;
  count: number;
}

/** A point of a reliability plot: nodes of like estimated survival, and how many of them were accepted. */
export interface ReliabilityBin {
  /** Mean estimate, 0…1. */
  readonly predicted: number;
  /** Share accepted, 0…1. */
  readonly observed: number;
  readonly count: number;
}

/**
 * Turns drafters' estimates into shares that are accepted: by drafter, rank among siblings and estimate, the share observed so
 * far. Of conditional probabilities, so that survival, their product along a path, never rises with depth.
 */
export class Calibration {
  readonly #classes = new Map<string | number, Bin[]>();
  readonly #reliability = newBins();

  /** The tree with calibrated `probs`. */
  calibrate(tree: DraftTree, ranks = siblingRanks(tree)): DraftTree {
    const probs = [1];
    for (let node = 1; node < tree.probs.length; node++)
      probs.push(this.#prob(tree, node, ranks, tree.probs[node] ?? 0));
    return { ...tree, probs };
  }

  /**
   * @param draft its tree as its drafters gave it
   * @returns the tree with calibrated `probs`, by what was known before
   */
  observe({ tree, kept, outcomes, tested }: JudgedDraft): DraftTree {
    const ranks = siblingRanks(tree);
    const calibrated = this.calibrate(tree, ranks);
    const survival = survivals(calibrated);
    for (let node = 1; node < tree.tokenIds.length; node++) {
      if (kept?.has(node) ?? true) add(this.#reliability, survival[node] ?? 0, outcomes[node] ?? 0);
    }
    for (const { node, accepted } of tested) {
      const key = classOf(tree, node, ranks);
      const bins = this.#classes.get(key) ?? newBins();
      this.#classes.set(key, bins);
      add(bins, tree.probs[node] ?? 0, accepted ? 1 : 0);
    }
    return calibrated;
  }

  /** Bins that hold observations, by rising prediction. */
  get reliability(): readonly ReliabilityBin[] {
    return this.#reliability
      .filter(({ count }) => count > 0)
      .map(({ estimated, accepted, count }) => ({ predicted: estimated / count, observed: accepted / count, count }));
  }

  get error(): number {
    return calibrationError(this.reliability);
  }

  #prob(tree: DraftTree, node: number, ranks: readonly number[], prob: number): number {
    const bin = this.#classes.get(classOf(tree, node, ranks))?.[binOf(prob)];
    if (bin === undefined || bin.count === 0) return prob;
    // What the bin's estimates were off by, on average.
    const shift = (bin.accepted - bin.estimated) / (bin.count + PRIOR);
    return Math.max(0, Math.min(1, prob + shift));
  }
}

/** Expected calibration error: mean distance of predicted survival from observed, over nodes; 0…1. */
export function calibrationError(bins: readonly ReliabilityBin[]): number {
  const numNodes = bins.reduce((sum, { count }) => sum + count, 0);
  const distance = bins.reduce((sum, bin) => sum + bin.count * Math.abs(bin.predicted - bin.observed), 0);
  return numNodes === 0 ? 0 : distance / numNodes;
}

function newBins(): Bin[] {
  return Array.from({ length: NUM_BINS }, () => ({ estimated: 0, accepted: 0, count: 0 }));
}

function binOf(prob: number): number {
  return Math.min(NUM_BINS - 1, Math.floor(prob * NUM_BINS));
}

function add(bins: readonly Bin[], prob: number, outcome: number): void {
  const bin = bins[binOf(prob)];
  if (bin === undefined) return;
  const kept = bin.count < WINDOW ? 1 : 1 - 1 / WINDOW;
  bin.estimated = kept * bin.estimated + prob;
  bin.accepted = kept * bin.accepted + outcome;
  bin.count = kept * bin.count + 1;
}

/** By its proposers and its rank among siblings. */
function classOf({ proposers }: DraftTree, node: number, ranks: readonly number[]): string | number {
  const rank = Math.min(ranks[node] ?? 0, MAX_RANK);
  return proposers ? `${rank} ${proposers[node]?.join() ?? ""}` : rank;
}
