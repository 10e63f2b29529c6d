/** A step in which all trees have one size. */
export interface StepShape {
  readonly numSequences: number;
  /** Of a tree, root included. */
  readonly numNodes: number;
  readonly depth: number;
  /** The trees share their rows: then `numNodes` is what they have on average. */
  readonly sharesRows?: boolean;
}

/** What steps cost, in ms: T(M) as measured at start-up, times factors that are learned from the steps themselves. */
export interface CostModel {
  /** How often plain steps of about so many sequences were observed. */
  numPlainObserved(numSequences: number): number;
  plainMs(numSequences: number): number;
  /** A step that drafts trees of one size for all sequences and verifies them. */
  wholeMs(shape: StepShape): number;
  /**
   * How much of the log ratio of what steps of one size take to what others do is not known: a variance. Sizes are of trees for so many
   * sequences; where one is absent, plain steps.
   */
  variance(numSequences: number, one: StepShape | undefined, other: StepShape | undefined): number;
  /** Of what a look of so many steps shows of that. */
  noise(numSequences: number, numSteps: number): number;
  observePlain(numSequences: number, ms: number): void;
}
