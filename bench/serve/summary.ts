import type { LoadRun } from "./load.ts";

/** The value below which the given share of `values` lies (nearest rank); 0 of none. */
export function percentile(values: readonly number[], share: number): number {
  const sorted = values.toSorted((a, b) => a - b);
  return sorted[Math.max(0, Math.ceil(share * sorted.length) - 1)] ?? 0;
}

export interface Percentiles {
  readonly p50: number;
  readonly p95: number;
  readonly p99: number;
}

export interface ServeFigures {
  readonly numRequests: number;
  /** By status, those that were not answered with 200. */
  readonly refused: Readonly<Record<string, number>>;
  readonly requestsPerSecond: number;
  readonly tokensPerSecond: number;
  /** Requests a second that met both goals: the first token, and each token after it on average, in time. */
  readonly goodput: number;
  /** Time to the first piece of text, ms. */
  readonly firstTokenMs: Percentiles;
  /** Between two pieces of text, ms: a step of speculation may bring several tokens in one piece. */
  readonly interTokenMs: Percentiles;
  /** Time per output token after the first, ms, one value a request. */
  readonly perTokenMs: Percentiles;
  /** The longest time between two pieces of one text, ms. */
  readonly longestGapMs: number;
}

export interface Goals {
  readonly firstTokenMs: number;
  readonly perTokenMs: number;
}

export function summarize({ records, seconds }: LoadRun, goals: Goals): ServeFigures {
  const done = records.filter(({ status }) => status === 200);
  const refused: Record<string, number> = {};
  for (const { status } of records) if (status !== 200) refused[status] = (refused[status] ?? 0) + 1;
  const first = done.map(({ pieceMs, endMs }) => pieceMs[0] ?? endMs);
  const gaps = done.flatMap(({ pieceMs }) => pieceMs.slice(1).map((ms, i) => ms - (pieceMs[i] ?? ms)));
  const perToken = done.map(({ pieceMs, numTokens }) => {
    const [begin = 0, end = begin] = [pieceMs[0], pieceMs.at(-1)];
    return (end - begin) / Math.max(1, numTokens - 1);
  });
  const numGood = done.filter(
    (_, i) => (first[i] ?? 0) <= goals.firstTokenMs && (perToken[i] ?? 0) <= goals.perTokenMs,
  ).length;
  return {
    numRequests: records.length,
    refused,
    requestsPerSecond: done.length / seconds,
    tokensPerSecond: done.reduce((sum, { numTokens }) => sum + numTokens, 0) / seconds,
    goodput: numGood / seconds,
    firstTokenMs: percentiles(first),
    interTokenMs: percentiles(gaps),
    perTokenMs: percentiles(perToken),
    longestGapMs: Math.max(0, ...gaps),
  };
}

function percentiles(values: readonly number[]): Percentiles {
  return { p50: percentile(values, 0.5), p95: percentile(values, 0.95), p99: percentile(values, 0.99) };
}
