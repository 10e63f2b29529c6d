import type { HostModule } from "../../engine/process/engine-process.ts";

/** A TypeScript module of test/engine/process/hosts that calls `hostEngine`. */
export function testHost(name: string): HostModule {
  return {
    path: new URL(`../engine/process/hosts/${name}.ts`, import.meta.url),
    execArgv: ["--import", "tsx"],
  };
}

/** The package's own host, from its source. */
export const SOURCE_HOST: HostModule = {
  path: new URL("../../engine/process/main.ts", import.meta.url),
  execArgv: ["--import", "tsx"],
};
