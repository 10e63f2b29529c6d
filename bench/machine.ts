import { cpus } from "node:os";
import type { EngineInfo } from "../engine/client.ts";

/** What a figure depends on, to be printed beside it. */
export interface Machine {
  readonly cpu: string;
  readonly numCpus: number;
  readonly node: string;
  readonly adapter: string;
  readonly model: string;
}

export function describeMachine({ adapter, modelName }: EngineInfo): Machine {
  const all = cpus();
  return {
    cpu: all[0]?.model ?? "unknown",
    numCpus: all.length,
    node: process.version,
    adapter,
    model: modelName,
  };
}
