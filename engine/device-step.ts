import { commonLimits, type SchedulerOutput } from "../scheduler/output.ts";
import type { Verification } from "./host-step.ts";
import type { ResidentLoop } from "./resident/resident-loop.ts";
import { verifiedLane } from "./step.ts";

/**
 * A step that runs on the device from drafting to commit. It is submitted when this returns.
 * @param numAhead steps in flight before it
 */
export function decodeOnDevice(loop: ResidentLoop, output: SchedulerOutput, numAhead: number): Promise<Verification> {
  const planned = output.sequences.map(({ sequence }) => sequence);
  const limits = commonLimits(output.sequences, output.limits);
  const verification = loop.submit(numAhead, planned, limits).then(({ lanes, times }): Verification => {
    const sequences = output.sequences.flatMap(({ sequence: { id } }, i) => {
      const lane = lanes[i];
      return lane ? verifiedLane(id, lane, loop.proposers) : [];
    });
    return times ? { sequences, draftMs: times.draftMs, pass: times } : { sequences, draftMs: 0 };
  });
  // It is awaited later, or never: after the failure of a step before it.
  verification.catch(() => {});
  return verification;
}
