/** How often what a run must have exercised happened. */
export interface Coverage {
  steps: number;
  preemptions: number;
  accepted: number;
  stopped: number;
  atLength: number;
  abortedInFlight: number;
  ahead: number;
  /** Of them those whose trees have another depth than in the plan before. */
  resizedAhead: number;
  endedBeforeLater: number;
  /** Plans ahead for fewer sequences than the plan before, and those that leave out one that runs but ends by its length before. */
  aheadWithoutEnded: number;
  aheadWithoutEnding: number;
  /** Plans ahead, and others, beside which newcomers waited for whom there were places. */
  heldAhead: number;
  /** Plans that leave out a newcomer for want of blocks. */
  lackedBlocks: number;
  held: number;
  /** Plans in which all trees have one size, that of a sequence too which ends before it. */
  pastEnd: number;
  refused: number;
  replayed: number;
  chunkedPrefills: number;
  /** Sequences that found a part of their prompt in the cache, and those that found their own blocks after a preemption. */
  prefixHits: number;
  resumed: number;
  /** Newcomers of which all tokens but the last were there, the last of those as copies. */
  tailsCopied: number;
  /** Preemptions in favour of a more important sequence. */
  displaced: number;
  /** Sequences whose deadline came while they waited, while they ran between two steps, and while a step with them was in flight. */
  expiredWaiting: number;
  expiredRunning: number;
  expiredInFlight: number;
}

export const noCoverage = (): Coverage => ({
  steps: 0,
  preemptions: 0,
  accepted: 0,
  stopped: 0,
  atLength: 0,
  abortedInFlight: 0,
  ahead: 0,
  resizedAhead: 0,
  endedBeforeLater: 0,
  aheadWithoutEnded: 0,
  aheadWithoutEnding: 0,
  heldAhead: 0,
  lackedBlocks: 0,
  held: 0,
  pastEnd: 0,
  refused: 0,
  replayed: 0,
  chunkedPrefills: 0,
  prefixHits: 0,
  resumed: 0,
  tailsCopied: 0,
  displaced: 0,
  expiredWaiting: 0,
  expiredRunning: 0,
  expiredInFlight: 0,
});
