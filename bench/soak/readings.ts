import { readdir, readFile } from "node:fs/promises";
import { metric, scrape } from "../serve/scrape.ts";
import { loopMs } from "../serve/vitals.ts";

/** What a server and its engine hold. */
export interface Reading {
  /** Minutes since the soak began. */
  readonly minutes: number;
  readonly serverHeapBytes: number;
  readonly engineHeapBytes: number;
  /** Resident memory; 0 where the system does not tell it. */
  readonly serverBytes: number;
  readonly engineBytes: number;
  readonly gpuBytes: number;
  readonly numGpuBuffers: number;
  /** Open file descriptors; 0 where the system does not tell them. */
  readonly serverFiles: number;
  readonly engineFiles: number;
  /** Share of the KV blocks that sequences hold. */
  readonly kvUsage: number;
  readonly numSequences: number;
  /** Delay of the server's event loop since the reading before, as `Vitals` has it. */
  readonly eventLoopP99Ms: number;
}

/** @param pid of the server, whose only child is the engine */
export async function takeReading(url: string, pid: number, minutes: number): Promise<Reading> {
  const metrics = await scrape(url);
  const engine = await childOf(pid);
  const of = (name: string) => metric(metrics, name);
  return {
    minutes,
    serverHeapBytes: of("nodejs_heap_size_used_bytes"),
    engineHeapBytes: of("canopy_engine_heap_bytes"),
    serverBytes: await residentBytes(pid),
    engineBytes: await residentBytes(engine),
    gpuBytes: of("canopy_engine_gpu_memory_bytes"),
    numGpuBuffers: of("canopy_engine_gpu_buffers"),
    serverFiles: await numFiles(pid),
    engineFiles: await numFiles(engine),
    kvUsage: of("canopy_kv_cache_usage_perc"),
    numSequences: of("canopy_num_requests_running") + of("canopy_num_requests_waiting"),
    eventLoopP99Ms: loopMs(metrics, "p99"),
  };
}

/** 0 where the system has no /proc. */
async function childOf(pid: number): Promise<number> {
  const children = await readFile(`/proc/${pid}/task/${pid}/children`, "utf8").catch(() => "");
  return Number(children.trim().split(" ")[0] ?? 0);
}

async function numFiles(pid: number): Promise<number> {
  return (await readdir(`/proc/${pid}/fd`).catch(() => [])).length;
}

async function residentBytes(pid: number): Promise<number> {
  const status = await readFile(`/proc/${pid}/status`, "utf8").catch(() => "");
  return 1024 * Number(/^VmRSS:\s+(\d+) kB$/m.exec(status)?.[1] ?? 0);
}
