import fc from "fast-check";
import { expect, test } from "vitest";
import { noCoverage } from "./coverage.ts";
import { apply, operations, worldConfig } from "./operations.ts";
import { World } from "./world.ts";

const NUM_RUNS = Number(process.env.CANOPY_MODEL_RUNS ?? 2000);

test("any mix of additions, steps, drafts, aborts, failures and preemptions gives the text of plain decoding", () => {
  const coverage = noCoverage();
  fc.assert(
    fc.property(worldConfig, operations, (config, ops) => {
      const world = new World(config, coverage);
      for (const op of ops) apply(world, op);
      world.drain(ops.length);
    }),
    { numRuns: NUM_RUNS },
  );
  for (const [what, count] of Object.entries(coverage)) expect(count, what).toBeGreaterThan(NUM_RUNS / 50);
  console.log(coverage);
});
