import { referencePrompts } from "../prompts.ts";
import { randomWords } from "../random.ts";
import { type LoadOptions, runLoad } from "../serve/load.ts";
import { startServer } from "../serve/server-process.ts";
import { type Percentiles, type ServeFigures, summarize } from "../serve/summary.ts";
import { type Vitals, type WorstTimes, watchServer } from "../serve/vitals.ts";
import { defineSuite, positiveInteger, positiveIntegers } from "../suite.ts";
import { table } from "../table.ts";

interface ServeRow extends ServeFigures, Vitals {
  readonly drafter: string;
  readonly streams: number;
}

export const serve = defineSuite(
  "a server under load: time to first token, time between and per output token, throughput and goodput",
  {
    model: { type: "string", value: "NAME|PATH", default: "sapling-14m", help: "what to serve" },
    drafters: { type: "string", value: "A,B", default: "none,auto", help: "one server for each" },
    streams: { type: "string", value: "N,…", default: "1,8,32", help: "requests under way at a time" },
    rate: { type: "string", value: "R", help: "requests a second, arriving at random, whatever is under way" },
    seconds: { type: "string", value: "N", default: "20", help: "of each load" },
    tokens: { type: "string", value: "N", default: "64", help: "most tokens of an answer" },
    "prompt-words": { type: "string", value: "N", default: "0", help: "that all prompts begin with" },
    "max-num-seqs": { type: "string", value: "N", default: "64", help: "of the server" },
    "goal-first-ms": { type: "string", value: "N", default: "2000", help: "time to first token that counts as good" },
    "goal-token-ms": { type: "string", value: "N", default: "200", help: "time per output token that counts as good" },
  },
  async (values, print) => {
    const seconds = positiveInteger(values.seconds);
    const goals = {
      firstTokenMs: positiveInteger(values["goal-first-ms"]),
      perTokenMs: positiveInteger(values["goal-token-ms"]),
    };
    // Every run has the same arrivals.
    const words = randomWords();
    const random = () => words() / 2 ** 32;
    const opening = "Please read this with care. ".repeat(Math.ceil(Number(values["prompt-words"]) / 5));
    const body = requestBody(positiveInteger(values.tokens), opening);
    const rows: ServeRow[] = [];
    for (const drafter of values.drafters.split(",")) {
      const settings = ["--adapter", values.adapter, "--drafter", drafter, "--max-num-seqs", values["max-num-seqs"]];
      const server = await startServer([values.model, ...settings]);
      try {
        const rate = values.rate === undefined ? {} : { rate: Number(values.rate) };
        const load = (streams: number): LoadOptions => ({ url: server.url, streams, seconds, body, random, ...rate });
        await runLoad({ ...load(1), seconds: 1 });
        for (const streams of positiveIntegers(values.streams)) {
          const watch = await watchServer(server.url);
          const figures = summarize(await runLoad(load(streams)), goals);
          rows.push({ drafter, streams, ...figures, ...(await watch.stop()) });
        }
      } finally {
        await server.stop();
      }
    }
    print(formatRows(rows));
    return { suite: "serve", seconds, goals, rows };
  },
);

/** Of the bundled prompts in turn; every other request is sampled. */
function requestBody(maxTokens: number, opening: string): (i: number) => object {
  const prompts = referencePrompts().map(({ prompt }) => prompt);
  return (i) => ({
    messages: [{ role: "user", content: `${opening}${prompts[i % prompts.length]}` }],
    ...{ max_tokens: maxTokens, temperature: i % 2 === 0 ? 0 : 0.7, seed: i },
  });
}

function formatRows(rows: readonly ServeRow[]): string {
  const two = ({ p99, max }: WorstTimes) => `${p99.toFixed(0)} / ${max.toFixed(0)}`;
  const three = ({ p50, p95, p99 }: Percentiles) =>
    [p50, p95, p99].map((ms) => ms.toFixed(ms < 10 ? 1 : 0)).join(" / ");
  return table(
    [
      "drafter",
      "streams",
      "requests",
      "refused",
      "tokens/s",
      "goodput, /s",
      "first token, ms p50 / p95 / p99",
      "between pieces, ms",
      "per token, ms",
      "/health, ms p99 / max",
      "event loop, ms p99 / max",
    ],
    rows.map((row) => [
      row.drafter,
      String(row.streams),
      String(row.numRequests),
      Object.entries(row.refused)
        .map(([status, count]) => `${count} × ${status}`)
        .join(", ") || "0",
      row.tokensPerSecond.toFixed(1),
      row.goodput.toFixed(2),
      three(row.firstTokenMs),
      three(row.interTokenMs),
      three(row.perTokenMs),
      two(row.healthMs),
      two(row.eventLoopMs),
    ]),
  );
}
