import { invariant } from "../kvcache/invariant.ts";
import type { CommittedSequence, ScheduledSequence, StepResult } from "./output.ts";
import type { SequenceState } from "./sequence.ts";

/**
 * Appends a verified run to its sequence, testing end tokens and limits token by token: what follows the token that
 * ends the sequence is discarded.
 * @throws InvariantError when the run is not one accepted path and a bonus token within what was planned.
 */
export function appendRun(sequence: SequenceState, scheduled: ScheduledSequence, run: StepResult): CommittedSequence {
  const { tokenIds, numAccepted } = run;
  invariant(
    tokenIds.length === numAccepted + 1 && numAccepted <= scheduled.maxDraftDepth,
    () => `${run.id}: ${tokenIds.length} tokens, ${numAccepted} accepted, drafts planned to ${scheduled.maxDraftDepth}`,
  );
  for (const [i, tokenId] of tokenIds.entries()) {
    const finishReason = sequence.append(tokenId);
    if (finishReason === undefined) continue;
    const numEmitted = i + 1;
    return {
      id: run.id,
      emittedTokenIds: tokenIds.slice(0, numEmitted),
      numAccepted: Math.min(numAccepted, numEmitted),
      finishReason,
    };
  }
  return { id: run.id, emittedTokenIds: tokenIds, numAccepted };
}
