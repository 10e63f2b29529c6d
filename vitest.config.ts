import { defineConfig } from "vitest/config";

// Dawn must not live in a worker thread, so tests run in child processes; two at a time suits two cores.
export default defineConfig({
  test: {
    pool: "forks",
    maxWorkers: 2,
    include: ["test/**/*.test.ts"],
    exclude: ["test/browser/**", "node_modules/**"],
    // A software adapter beside other work takes its time: what never ends is all that a limit has to catch.
    testTimeout: 300_000,
    hookTimeout: 600_000,
  },
});
