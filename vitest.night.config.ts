import { defineConfig } from "vitest/config";

// The tests that search at random and a whole long sequence, at sizes that take too long for every day.
export default defineConfig({
  test: {
    pool: "forks",
    maxWorkers: 2,
    include: [
      "test/scheduler/model-based.test.ts",
      "test/kvcache/prefix-hammer.test.ts",
      "test/engine/runner/long-context.test.ts",
    ],
    env: { CANOPY_FUZZ_RUNS: "50000", CANOPY_HAMMER_ROUNDS: "1000000", CANOPY_WHOLE_CONTEXT: "1" },
    testTimeout: 3_600_000,
  },
});
