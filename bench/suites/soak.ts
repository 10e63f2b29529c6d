import { randomWords } from "../random.ts";
import { startServer } from "../serve/server-process.ts";
import { percentile } from "../serve/summary.ts";
import type { Outcome } from "../soak/client.ts";
import type { Reading } from "../soak/readings.ts";
import { soak as runSoak } from "../soak/soak.ts";
import { judge } from "../soak/verdict.ts";
import { defineSuite, positiveInteger } from "../suite.ts";
import { table } from "../table.ts";

const MIB = 2 ** 20;

export const soak = defineSuite(
  "mixed traffic for a long time: whether anything leaks or fails. Ends with 1 where it does",
  {
    model: { type: "string", value: "NAME|PATH", default: "sapling-14m", help: "what to serve" },
    drafter: { type: "string", value: "NAME", default: "auto", help: "who drafts" },
    minutes: { type: "string", value: "N", default: "30", help: "in all" },
    "warm-up": { type: "string", value: "N", default: "3", help: "minutes of them that do not count" },
    round: { type: "string", value: "N", default: "5", help: "minutes of load between two idle moments" },
    clients: { type: "string", value: "N", default: "12", help: "requests under way at a time" },
  },
  async (values, print) => {
    const words = randomWords();
    const server = await startServer([values.model, "--adapter", values.adapter, "--drafter", values.drafter]);
    try {
      const figures = await runSoak(server, {
        minutes: positiveInteger(values.minutes),
        warmUpMinutes: positiveInteger(values["warm-up"]),
        loadMinutes: positiveInteger(values.round),
        numClients: positiveInteger(values.clients),
        random: () => words() / 2 ** 32,
        onReading: (reading, isIdle) => isIdle && print(describeReading(reading)),
      });
      const checks = judge(figures);
      const { loaded, outcomes, healthMs } = figures;
      print(`\n${outcomesTable(outcomes)}\n`);
      const delays = loaded.map(({ eventLoopP99Ms }) => eventLoopP99Ms);
      print(
        `/health: p99 ${healthMs.p99.toFixed(0)} ms, most ${healthMs.max.toFixed(0)} ms; the event loop's p99 of 5 s: median ` +
          `${percentile(delays, 0.5).toFixed(0)} ms, most ${percentile(delays, 1).toFixed(0)} ms\n`,
      );
      print(
        table(
          ["what", "found", "wanted", "passed"],
          checks.map(({ what, found, wanted, passed }) => [what, found, wanted, passed ? "yes" : "NO"]),
        ),
      );
      for (const problem of new Set(outcomes.flatMap((outcome) => outcome.problem ?? []))) print(problem);
      if (checks.some(({ passed }) => !passed)) process.exitCode = 1;
      return { suite: "soak", checks, ...figures };
    } finally {
      await server.stop();
    }
  },
);

function describeReading(reading: Reading): string {
  const mib = (bytes: number) => `${(bytes / MIB).toFixed(1)} MiB`;
  return (
    `${reading.minutes.toFixed(1)} min, idle: server ${mib(reading.serverHeapBytes)} heap, ${mib(reading.serverBytes)} resident, ` +
    `${reading.serverFiles} files; engine ${mib(reading.engineHeapBytes)} heap, ${mib(reading.engineBytes)} resident, ` +
    `${reading.engineFiles} files, ${mib(reading.gpuBytes)} in ${reading.numGpuBuffers} buffers`
  );
}

function outcomesTable(outcomes: readonly Outcome[]): string {
  const kinds = [...new Set(outcomes.map(({ kind }) => kind))].sort();
  return table(
    ["kind", "requests", "by status (0: the client left)", "wrong"],
    kinds.map((kind) => {
      const own = outcomes.filter((outcome) => outcome.kind === kind);
      const statuses = [...new Set(own.map(({ status }) => status))].sort((a, b) => a - b);
      const counts = statuses.map(
        (status) => `${own.filter((outcome) => outcome.status === status).length} × ${status}`,
      );
      return [kind, String(own.length), counts.join(", "), String(own.filter(({ problem }) => problem).length)];
    }),
  );
}
