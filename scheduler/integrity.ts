import type { BlockManager } from "../kvcache/block-manager.ts";
import { invariant } from "../kvcache/invariant.ts";
import type { SchedulerOutput } from "./output.ts";
import type { Sequence } from "./sequence.ts";

interface SchedulerState {
  readonly blocks: BlockManager;
  readonly running: readonly Sequence[];
  readonly waiting: readonly Sequence[];
  readonly known: readonly Sequence[];
  readonly inFlight: SchedulerOutput | undefined;
  readonly maxNumSeqs: number;
}

/** @throws InvariantError naming the rule that the queues, or their part of the cache, break. */
export function checkSchedulerIntegrity(state: SchedulerState): void {
  checkQueues(state);
  for (const sequence of state.running) checkRunning(sequence, state.blocks);
  for (const { id, numComputedTokens } of state.waiting) {
    invariant(!state.blocks.has(id) && numComputedTokens === 0, `${id} waits, but holds blocks or computed tokens`);
  }
  checkHolders(state);
}

function checkQueues({ running, waiting, maxNumSeqs }: SchedulerState): void {
  invariant(running.length <= maxNumSeqs, `${running.length} sequences run, at most ${maxNumSeqs} may`);
  for (const { id, status } of running) invariant(status === "running", `${id} is ${status}, but in the batch`);
  for (const { id, status } of waiting)
    invariant(status === "waiting" || status === "preempted", `${id} is ${status}, but in the queue`);
  let latest = -1;
  for (const { id, arrival } of [...running, ...waiting]) {
    invariant(arrival > latest, `${id} is out of order of arrival`);
    latest = arrival;
  }
}

function checkRunning({ id, numComputedTokens, numTokens, maxNumTokens }: Sequence, blocks: BlockManager): void {
  invariant(
    numComputedTokens < numTokens,
    `${id}: ${numComputedTokens} of ${numTokens} tokens computed, none to sample`,
  );
  invariant(numTokens < maxNumTokens, `${id}: goes on after ${numTokens} of at most ${maxNumTokens} tokens`);
  const numCommitted = blocks.numComputedTokens(id);
  invariant(
    numCommitted === numComputedTokens,
    `${id}: ${numComputedTokens} tokens computed, ${numCommitted} committed`,
  );
}

/** Blocks are held by running sequences, and by aborted ones of the step in flight; when idle, by no one. */
function checkHolders({ blocks, running, waiting, known, inFlight }: SchedulerState): void {
  const numAborted = known.filter(({ status }) => status === "finished").length;
  invariant(
    known.length === running.length + waiting.length + numAborted,
    `${known.length} sequences known, ${running.length} run, ${waiting.length} wait, ${numAborted} aborted in flight`,
  );
  invariant(numAborted === 0 || inFlight !== undefined, `${numAborted} ended sequences are still known`);
  invariant(
    blocks.numTables === running.length + numAborted,
    `${blocks.numTables} block tables for ${running.length} running and ${numAborted} aborted sequences`,
  );
}
