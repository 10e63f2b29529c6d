import fc from "fast-check";
import { expect, test } from "vitest";
import { CACHE_BUGS } from "./bugs/cache-bugs.ts";
import { SCHEDULER_BUGS } from "./bugs/scheduler-bugs.ts";
import { noCoverage } from "./coverage.ts";
import { apply, operations, worldConfig } from "./operations.ts";
import { ORIGINAL_PARTS } from "./parts.ts";
import { World } from "./world.ts";

test.each(Object.entries({ ...CACHE_BUGS, ...SCHEDULER_BUGS }))("the model-based test notices: %s", (_, parts) => {
  const property = fc.property(worldConfig, operations, (config, ops) => {
    const world = new World(config, noCoverage(), { ...ORIGINAL_PARTS, ...parts });
    for (const op of ops) apply(world, op);
    world.drain(0);
  });
  expect(fc.check(property, { numRuns: 500, endOnFailure: true }).failed).toBe(true);
});
