import { afterEach, describe, expect, it, vi } from "vitest";
import { ResidentLoop } from "../../../engine/resident/resident-loop.ts";
import { useGpu } from "../../support/gpu.ts";
import { leaveRegroupingToChance } from "./chance.ts";
import { expectIdle, usePlainRuns } from "./plain-runs.ts";

const { open, expectPlain } = usePlainRuns(useGpu());

afterEach(() => vi.restoreAllMocks());

describe.each([
  { drafts: false, numBlocks: 80 },
  { drafts: true, numBlocks: 80 },
  // What ended sequences had is others' before their lanes have gone.
  { drafts: false, numBlocks: 14 },
  { drafts: true, numBlocks: 14 },
])("lanes idle beside others, drafts: $drafts, $numBlocks blocks", ({ drafts, numBlocks }) => {
  it("texts are plain decoding's, and every block comes back", async () => {
    leaveRegroupingToChance(numBlocks + (drafts ? 1 : 0));
    const submit = vi.spyOn(ResidentLoop.prototype, "submit");
    const parts = await open({ drafts, numBlocks, maxNumSeqs: 6, checkInvariants: true });
    const { resident } = parts;
    let [numIdle, numHeld] = [0, 0];
    parts.engine.onStep(({ numRunning, numWaiting }) => {
      const sequences = submit.mock.calls.at(-1)?.[1] ?? [];
      if (resident && sequences.length < resident.numLanes) numIdle++;
      if (numWaiting > 0 && numRunning > 0 && numRunning < 6) numHeld++;
    });
    const streams = Array.from({ length: 6 }, async (_, i) => {
      for (let round = 0; round < 2; round++) await expectPlain(parts.engine, (2 * i + round) % 8);
    });
    await Promise.all(streams);
    expect(numIdle).toBeGreaterThan(4);
    expect(numHeld).toBeGreaterThan(2);
    await expectIdle(parts);
  });
});
