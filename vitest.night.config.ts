import { defineConfig } from "vitest/config";

// Sizes that take too long for every day; what is set outside goes first.
const SIZES = {
  CANOPY_MODEL_RUNS: "50000",
  CANOPY_HAMMER_ROUNDS: "1000000",
  CANOPY_NUM_DRAWS: "200000",
  CANOPY_IDENTITY: "all",
  CANOPY_WHOLE_CONTEXT: "1",
  CANOPY_FUZZ_SECONDS: "1800",
};

// Searches at random, every pair of the identity test and a whole long sequence.
export default defineConfig({
  test: {
    pool: "forks",
    maxWorkers: 2,
    include: [
      "test/scheduler/model-based.test.ts",
      "test/kvcache/prefix-hammer.test.ts",
      "test/kernels/ops/sampling-distribution.test.ts",
      "test/engine/identity.test.ts",
      "test/engine/runner/long-context.test.ts",
      "test/**/*fuzz.test.ts",
    ],
    env: Object.fromEntries(Object.entries(SIZES).map(([name, size]) => [name, process.env[name] ?? size])),
    // All pairs take a software adapter hours.
    testTimeout: 86_400_000,
  },
});
