import { defineConfig } from "vitest/config";

// Apart from the other tests, since these need a Chromium (scripts/ensure-chromium.mjs).
export default defineConfig({
  test: {
    pool: "forks",
    include: ["test/browser/**/*.test.ts"],
    testTimeout: 60_000,
    hookTimeout: 60_000,
  },
});
