import type { TreeLimits } from "../../../scheduler/output.ts";
import type { DraftTree } from "../draft-tree.ts";
import type { TreeShape } from "../tree-shape.ts";
import { Calibration, type ReliabilityBin } from "./calibration.ts";
import { DraftSample } from "./draft-sample.ts";
import { judged, type VerifiedDraft } from "./verified-draft.ts";

/** A tree of the step, and what of it is to be verified. */
export interface CutTree {
  /** The nodes that stay, under their parents. */
  readonly tree: DraftTree;
  readonly drafted: DraftTree;
  /** Nodes of `drafted` that stay; absent where all do. */
  readonly kept?: ReadonlySet<number>;
}

/** What a step did and how long it took. */
export interface ObservedStep {
  /** Sequences that sampled. */
  readonly numSequences: number;
  /** Sequences that it had rows for: those too that had ended when it did or, where lanes idle, before it began. */
  readonly numLanes: number;
  /** Known tokens of one of them, on average. */
  readonly context: number;
  /** Rows that were verified, those of idle lanes and other padding included. */
  readonly numRows: number;
  readonly numEmitted: number;
  /** As given by `limits` for this step. */
  readonly limits: TreeLimits;
  /** The step ran on the device from drafting to commit. */
  readonly onDevice: boolean;
  /** Nothing but decoding, and not while steps begin to overlap on the device: its times say what such steps cost. */
  readonly isSteady: boolean;
  /** The last one of a run on the device: no step was under way behind it, so that it takes less than others. */
  readonly isLast: boolean;
  /** Prompts, or tokens that were computed before and lost, are among its rows. */
  readonly hasPrompt: boolean;
  /** A plain step in which drafters computed tokens that they had not seen, so that the next steps can draft on the device. */
  readonly catchesUp: boolean;
  readonly stepMs: number;
  /** Of it, drafting; 0 where it is not known. */
  readonly draftMs: number;
  /** Trees that were drafted, with what became of them. */
  readonly drafts: readonly VerifiedDraft[];
}

/** What the policy knows of its estimates. */
export interface SpeculationState {
  /** Bounds of the trees of the next step; no nodes where it is to be a plain one. */
  readonly limits: TreeLimits;
  /** Expected calibration error of predicted survival, 0…1. */
  readonly calibrationError: number;
  readonly reliability: readonly ReliabilityBin[];
  /** What was compared when it was last decided; absent where nothing is compared. */
  readonly expected?: ExpectedRates | undefined;
}

/** Tokens/s of the whole batch at the latest load, with what it costs to stop for prompts. */
export interface ExpectedRates {
  readonly plain: number;
  /** With the best trees. */
  readonly trees: number;
}

/** Decides how much is speculated in each step. The text never depends on it, only how long it takes. */
export interface TreePolicy {
  /**
   * Bounds of each tree of the next step, in which so many sequences sample. No nodes: a plain decode.
   * @param context known tokens of one of them, on average
   */
  limits(numSequences: number, context: number): TreeLimits;
  /**
   * Bounds of the step that follows one of these bounds, both on the device, where steps follow each other without the host. Where they
   * are to stop, which they have to between plain decoding and trees, undefined: `limits` is asked when the last of them has ended.
   */
  next(limits: TreeLimits): TreeLimits | undefined;
  /**
   * What is to be verified of the trees of a step.
   * @param numRows of known tokens, roots among them
   */
  cut(trees: readonly DraftTree[], numRows: number): readonly CutTree[];
  observe(step: ObservedStep): void;
  /** The shape that all trees are to have, where there is one. */
  readonly shape?: TreeShape;
  /** Absent where nothing is estimated. */
  readonly state?: SpeculationState;
}

/** Trees as large as they may be, whatever they bring. How far estimates can be trusted is watched all the same. */
export class FixedTrees implements TreePolicy {
  readonly #limits: TreeLimits;
  readonly #sample = new DraftSample();
  readonly #calibration = new Calibration();

  constructor(limits: TreeLimits) {
    this.#limits = limits;
  }

  get state(): SpeculationState {
    return stateOf(this.#limits, this.#calibration);
  }

  limits(): TreeLimits {
    return this.#limits;
  }

  next(limits: TreeLimits): TreeLimits | undefined {
    return limits;
  }

  cut(trees: readonly DraftTree[]): readonly CutTree[] {
    return trees.map((tree) => ({ tree, drafted: tree }));
  }

  observe({ drafts, stepMs }: ObservedStep): void {
    for (const draft of this.#sample.of(drafts, stepMs)) this.#calibration.observe(judged(draft));
  }
}

export function stateOf(
  limits: TreeLimits,
  { error: calibrationError, reliability }: Calibration,
  expected?: ExpectedRates,
): SpeculationState {
  return { limits, calibrationError, reliability, expected };
}
