import type { BlockManager } from "../kvcache/block-manager.ts";
import { invariant } from "../kvcache/invariant.ts";
import { numTreeSlots, type SchedulerOutput } from "./output.ts";
import type { Sequence } from "./sequence.ts";

interface SchedulerState {
  readonly blocks: BlockManager;
  readonly running: readonly Sequence[];
  readonly waiting: readonly Sequence[];
  readonly known: readonly Sequence[];
  /** In order. */
  readonly inFlight: readonly SchedulerOutput[];
}

/** @throws InvariantError naming the rule that sequences, or their part of the cache, break. */
export function checkSchedulerIntegrity(state: SchedulerState): void {
  for (const sequence of state.running) checkRunning(sequence, state.blocks);
  for (const { id, numComputedTokens } of state.waiting) {
    invariant(!state.blocks.has(id) && numComputedTokens === 0, `${id} waits, but holds blocks or computed tokens`);
  }
  checkHolders(state);
  checkReserved(state);
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

/** Blocks are held by running sequences, and by ended ones of the steps in flight; when idle, by no one. */
function checkHolders({ blocks, running, waiting, known, inFlight }: SchedulerState): void {
  const ended = known.filter(({ status }) => status === "finished");
  invariant(
    known.length === running.length + waiting.length + ended.length,
    `${known.length} sequences known, ${running.length} run, ${waiting.length} wait, ${ended.length} ended in flight`,
  );
  const planned = new Set(inFlight.flatMap(({ sequences }) => sequences.map(({ sequence }) => sequence)));
  for (const sequence of ended) invariant(planned.has(sequence), `${sequence.id} has ended, but is still known`);
  invariant(
    blocks.numTables === running.length + ended.length,
    `${blocks.numTables} block tables for ${running.length} running and ${ended.length} ended sequences`,
  );
}

/** Every slot that a step in flight may write is there, whatever the steps before it emit. */
function checkReserved({ inFlight, blocks }: SchedulerState): void {
  const mostAhead = new Map<Sequence, number>();
  for (const scheduled of inFlight.flatMap(({ sequences }) => sequences)) {
    const { sequence, maxDraftDepth } = scheduled;
    const { id, status, numTokens } = sequence;
    const ahead = mostAhead.get(sequence) ?? 0;
    mostAhead.set(sequence, ahead + maxDraftDepth + 1);
    const numNeeded = numTokens + ahead + numTreeSlots(scheduled);
    invariant(
      status !== "running" || blocks.numSlots(id) >= numNeeded,
      () => `${id}: ${blocks.numSlots(id)} slots, steps in flight may write ${numNeeded}`,
    );
  }
}
