import type { Outcome } from "./client.ts";
import type { Reading } from "./readings.ts";

const MIB = 2 ** 20;
/** Growth of a heap that still counts as none, MiB a minute. */
const MAX_HEAP_SLOPE = 1;
/** A log file or a probe may be open at one reading and not at another. */
const SPARE_FILES = 2;

/** One thing that was looked at. */
export interface Check {
  readonly what: string;
  readonly found: string;
  readonly wanted: string;
  readonly passed: boolean;
}

export interface SoakFigures {
  /** Under load, from the end of the warm-up on, in order. */
  readonly loaded: readonly Reading[];
  /** Without load, in order; the first is taken at the end of the warm-up. */
  readonly idle: readonly Reading[];
  readonly outcomes: readonly Outcome[];
}

/** Whether a server leaks or fails: heaps grow no faster than a bound, and an idle server holds what it held after the warm-up. */
export function judge({ loaded, idle, outcomes }: SoakFigures): readonly Check[] {
  const [first] = idle;
  if (first === undefined || idle.length < 2 || loaded.length < 2) {
    throw new RangeError("a soak needs readings at two idle moments and under load between them");
  }
  const problems = outcomes.filter(({ problem }) => problem !== undefined);
  const heap = (what: string, of: (reading: Reading) => number): Check => {
    const slope = slopeOf(loaded.map((reading) => [reading.minutes, of(reading) / MIB]));
    return check(what, `${slope.toFixed(3)} MiB a minute`, `below ${MAX_HEAP_SLOPE}`, slope < MAX_HEAP_SLOPE);
  };
  const same = (what: string, of: (reading: Reading) => number, spare = 0): Check => {
    const base = of(first);
    const most = Math.max(...idle.map(of));
    const wanted = spare === 0 ? `${base}, as after the warm-up` : `${base} to ${base + spare}`;
    return check(what, `at most ${most}`, wanted, most <= base + spare);
  };
  return [
    check("requests that went wrong", `${problems.length} of ${outcomes.length}`, "0", problems.length === 0),
    heap("heap of the server", (reading) => reading.serverHeapBytes),
    heap("heap of the engine", (reading) => reading.engineHeapBytes),
    same("files of the idle server", (reading) => reading.serverFiles, SPARE_FILES),
    same("files of the idle engine", (reading) => reading.engineFiles, SPARE_FILES),
    same("bytes on the device, idle", (reading) => reading.gpuBytes),
    same("buffers on the device, idle", (reading) => reading.numGpuBuffers),
    isZero("sequences of the idle server", idle, (reading) => reading.numSequences),
    isZero("share of KV blocks held, idle", idle, (reading) => reading.kvUsage),
  ];
}

function isZero(what: string, idle: readonly Reading[], of: (reading: Reading) => number): Check {
  const most = Math.max(...idle.map(of));
  return check(what, `at most ${most}`, "0", most === 0);
}

function check(what: string, found: string, wanted: string, passed: boolean): Check {
  return { what, found, wanted, passed };
}

/** Slope of the line of least squares through points (x, y). */
export function slopeOf(points: readonly (readonly [x: number, y: number])[]): number {
  const mean = (values: readonly number[]) => values.reduce((sum, value) => sum + value, 0) / values.length;
  const [meanX, meanY] = [mean(points.map(([x]) => x)), mean(points.map(([, y]) => y))];
  const spread = points.reduce((sum, [x]) => sum + (x - meanX) ** 2, 0);
  return points.reduce((sum, [x, y]) => sum + (x - meanX) * (y - meanY), 0) / spread;
}
