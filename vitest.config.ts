import { defineConfig } from "vitest/config";
import { BaseSequencer, type TestSpecification } from "vitest/node";

/** Files that take longest. Begun first, they end beside the many short ones and not alone after them. */
const LONG = [
  ...["engine/speculative/attached", "engine/runner/bit-equality", "engine/attached-identity", "engine/reference"],
  ...["engine/identity", "kernels/ops/attention-matrix", "engine/tree-kinds"],
];

class LongFirst extends BaseSequencer {
  override async sort(files: TestSpecification[]): Promise<TestSpecification[]> {
    const rank = ({ moduleId }: TestSpecification) => {
      const at = LONG.findIndex((name) => moduleId.endsWith(`/test/${name}.test.ts`));
      return at < 0 ? LONG.length : at;
    };
    return (await super.sort(files)).toSorted((a, b) => rank(a) - rank(b));
  }
}

// Dawn must not live in a worker thread, so tests run in child processes; two at a time suits two cores.
export default defineConfig({
  test: {
    pool: "forks",
    maxWorkers: 2,
    sequence: { sequencer: LongFirst },
    include: ["test/**/*.test.ts"],
    exclude: ["test/browser/**", "node_modules/**"],
    // A software adapter beside other work takes its time: what never ends is all that a limit has to catch.
    testTimeout: 300_000,
    hookTimeout: 600_000,
  },
});
