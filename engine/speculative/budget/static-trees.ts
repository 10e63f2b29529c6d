import type { TreeLimits } from "../../../scheduler/output.ts";
import type { DraftTree } from "../draft-tree.ts";
import { fastestShape, type SiblingRates } from "../sequoia.ts";
import { fitShape, shapeDepth, type TreeShape } from "../tree-shape.ts";
import { Calibration } from "./calibration.ts";
import type { CostModel } from "./cost-model.ts";
import { keepNodes } from "./cut-trees.ts";
import { DeviceTimes } from "./device-times.ts";
import { DraftSample } from "./draft-sample.ts";
import { HostTimes } from "./host-times.ts";
import { type PassTable, PassTimes } from "./pass-times.ts";
import { SiblingAcceptance } from "./sibling-acceptance.ts";
import { StepCosts } from "./step-costs.ts";
import { type CutTree, type ObservedStep, type SpeculationState, stateOf, type TreePolicy } from "./tree-policy.ts";
import { judged } from "./verified-draft.ts";

/** Trees of one shape that somebody chose, whatever they bring. */
export class ShapedTrees implements TreePolicy {
  readonly shape: TreeShape;
  readonly #sample = new DraftSample();
  readonly #calibration = new Calibration();

  constructor(shape: TreeShape) {
    this.shape = shape;
  }

  get state(): SpeculationState {
    return stateOf(this.limits(), this.#calibration);
  }

  limits(): TreeLimits {
    return limitsOf(this.shape);
  }

  next(limits: TreeLimits): TreeLimits {
    return limits;
  }

  cut(trees: readonly DraftTree[]): readonly CutTree[] {
    return trees.map((drafted) => cutToShape(drafted, this.shape));
  }

  observe({ drafts, stepMs }: ObservedStep): void {
    for (const draft of this.#sample.of(drafts, stepMs)) this.#calibration.observe(judged(draft));
  }
}

export interface SequoiaOptions {
  /** Root included; at least 2. */
  readonly maxNodes: number;
  readonly maxDepth: number;
  /** Children of a node at most. */
  readonly topK: number;
  /** T(M, context) as measured at start-up. */
  readonly passes: PassTable;
  /** Steps draft and verify on the device. */
  readonly draftsOnDevice: boolean;
}

/** Steps between two looks at the shape. */
const RESHAPE_EVERY = 64;

/**
 * Trees of one shape, which is Sequoia's: by the live acceptance at each depth and sibling rank, and by measured costs, the one with
 * the most expected tokens a second (arXiv 2402.12374). It is looked at again from time to time.
 */
export class SequoiaTrees implements TreePolicy {
  readonly #options: SequoiaOptions;
  readonly #acceptance = new SiblingAcceptance();
  readonly #sample = new DraftSample();
  readonly #calibration = new Calibration();
  readonly #passes: PassTimes;
  readonly #costs: CostModel;
  readonly #stepCosts: StepCosts;
  #shape: TreeShape;
  /** That the steps on the device have. */
  #shapeInUse: TreeShape | undefined;
  #numSequences = 1;
  #numSteps = 0;

  constructor(options: SequoiaOptions) {
    this.#options = options;
    this.#passes = new PassTimes(options.passes);
    const { topK: draftRows, draftsOnDevice } = options;
    const host = new HostTimes({ passes: this.#passes, plainOnDevice: false, draftRows });
    const device = draftsOnDevice ? new DeviceTimes(this.#passes, draftRows) : undefined;
    this.#costs = device ?? host;
    this.#stepCosts = new StepCosts(false, host, device);
    this.#shape = this.#best();
  }

  get shape(): TreeShape {
    return this.#shape;
  }

  get state(): SpeculationState {
    return stateOf(limitsOf(this.#shape), this.#calibration);
  }

  limits(): TreeLimits {
    this.#shapeInUse = this.#shape;
    return limitsOf(this.#shape);
  }

  next(limits: TreeLimits): TreeLimits | undefined {
    return this.#shapeInUse === this.#shape ? limits : undefined;
  }

  cut(trees: readonly DraftTree[]): readonly CutTree[] {
    return trees.map((drafted) => cutToShape(drafted, this.#shape));
  }

  observe(step: ObservedStep): void {
    const { stepMs, drafts } = step;
    const all = drafts.map(judged);
    for (const draft of all) this.#acceptance.observe(draft);
    for (const draft of this.#sample.of(all, stepMs)) this.#calibration.observe(draft);
    if (step.numSequences > 0) {
      this.#numSequences = step.numLanes;
      this.#passes.context = step.context;
      this.#stepCosts.observe(step);
    }
    this.#numSteps++;
    if (this.#numSteps % RESHAPE_EVERY === 0) this.#shape = this.#best();
  }

  #best(): TreeShape {
    const numSequences = this.#numSequences;
    const shape = fastestShape(this.#rates(), this.#options, (numNodes, depth) =>
      this.#costs.wholeMs({ numSequences, numNodes, depth }),
    );
    // A tree of the root alone would never learn that drafting pays again.
    return shape.parents.length > 1 ? shape : { parents: [-1, 0], ranks: [0, 0], depths: [0, 1] };
  }

  /** What was never tested is thought to be as good as a common drafter's choice of that rank. */
  #rates(): SiblingRates {
    const { maxDepth, topK } = this.#options;
    const { rates } = this.#acceptance;
    return Array.from({ length: maxDepth }, (_, depth) =>
      Array.from({ length: topK }, (_, rank) => rates[depth]?.[rank] ?? 0.6 * 0.3 ** rank),
    );
  }
}

function limitsOf(shape: TreeShape): TreeLimits {
  return { numLookaheadNodes: shape.parents.length - 1, maxDraftDepth: shapeDepth(shape) };
}

function cutToShape(drafted: DraftTree, shape: TreeShape): CutTree {
  const kept = fitShape(drafted, shape);
  return { drafted, kept, tree: keepNodes(drafted, kept) };
}
