import { ENGINE_DEFAULTS } from "../../engine/engine-options.ts";
import type { Config } from "../../server/config.ts";
import { type Environment, loadConfig, UsageError } from "../../server/config-load.ts";

export const load = (args: readonly string[], env: Environment = {}): Config => loadConfig(args, env).config;

/** What a configuration is refused with. */
export function usageError(args: readonly string[], env: Environment = {}): string {
  try {
    loadConfig(args, env);
  } catch (error) {
    if (error instanceof UsageError) return error.message;
    throw error;
  }
  throw new Error(`no error for ${args.join(" ")}`);
}

/** Without arguments and environment. */
export const DEFAULTS = {
  model: "sapling-14m",
  servedModelName: [],
  adapter: "auto",
  port: 8181,
  host: "127.0.0.1",
  apiKey: [],
  allowedHosts: [],
  allowedOrigins: [],
  gpuMemoryUtilization: 0.9,
  kvDtype: "auto",
  prefixCache: "on",
  maxNumSeqs: 8,
  tokenBudget: 128,
  maxQueue: 256,
  drafter: ["auto"],
  treeBudget: "fixed",
  treeNodes: 8,
  treeDepth: 4,
  treeTopk: 3,
  cape: [...ENGINE_DEFAULTS.cape],
  medusaTopk: 32,
  checkInvariants: "off",
  logLevel: "info",
};
