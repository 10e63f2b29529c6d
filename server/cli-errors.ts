import { EngineOptionsError, ModelFileError } from "../engine/errors.ts";
import { GpuError } from "../kernels/errors.ts";
import type { Config } from "./config.ts";
import { UsageError } from "./config-load.ts";

/** Why the program ends, for the person who started it. */
export interface Explanation {
  readonly cause: string;
  /** What to do; absent where the cause says it. */
  readonly fix?: string;
  readonly exitCode: 1 | 2;
}

const MODEL_FIXES: Readonly<Record<ModelFileError["code"], string>> = {
  not_found: "give a bundled name (canopy serve sapling-14m) or the path of a folder or .gguf file",
  truncated: "the file is not whole: download or copy it again and compare its size with the original's",
  malformed: "the file is damaged or not what its name says: download or copy it again",
  unsupported: "use a Llama-architecture model, as a .gguf file or a Hugging Face folder with its tokenizer",
};

const LESS_MEMORY = "lower --kv-blocks, --max-model-len or --max-num-seqs, or serve a smaller model";

/** Cause and fix of whatever stopped the start. */
export function explain(error: unknown, config?: Pick<Config, "host" | "port">): Explanation {
  if (error instanceof UsageError) return { cause: error.message, exitCode: 2 };
  if (error instanceof EngineOptionsError) return { cause: error.message, fix: "see canopy serve --help", exitCode: 2 };
  if (error instanceof ModelFileError) return { cause: error.message, fix: MODEL_FIXES[error.code], exitCode: 1 };
  if (error instanceof GpuError) return explainGpu(error);
  return explainListen(error, config) ?? explainUnknown(error);
}

function explainGpu({ code, message }: GpuError): Explanation {
  // Without an adapter the message itself says what to install.
  if (code === "no_adapter") return { cause: message, exitCode: 1 };
  if (code === "out_of_memory") return { cause: message, fix: LESS_MEMORY, exitCode: 1 };
  return { cause: message, fix: "update the graphics driver, or run with --adapter software", exitCode: 1 };
}

function explainListen(error: unknown, config: Pick<Config, "host" | "port"> | undefined): Explanation | undefined {
  if (!(error instanceof Error) || !("code" in error) || config === undefined) return undefined;
  const { host, port } = config;
  const other = port < 65_535 ? port + 1 : 8181;
  switch (error.code) {
    case "EADDRINUSE":
      return {
        cause: `port ${port} on ${host} is in use by another program`,
        fix: `end that program, or choose another port: --port ${other} (0 takes any free one)`,
        exitCode: 1,
      };
    case "EACCES":
      return {
        cause: `this user may not listen on port ${port}`,
        fix: "choose a port above 1023: --port 8181",
        exitCode: 1,
      };
    case "EADDRNOTAVAIL":
    case "ENOTFOUND":
    case "EAI_AGAIN":
    case "EINVAL":
      return {
        cause: `${host} is no address of this machine (${error.code})`,
        fix: "use --host 127.0.0.1 for this machine alone, or --host 0.0.0.0 for every network",
        exitCode: 1,
      };
    default:
      return undefined;
  }
}

function explainUnknown(error: unknown): Explanation {
  const cause = error instanceof Error ? (error.stack ?? error.message) : String(error);
  return { cause, fix: "this was not expected: please report it with the lines above", exitCode: 1 };
}

/** As it is written to standard error. */
export function formatExplanation({ cause, fix }: Explanation): string {
  const lines = cause.split("\n").map((line, i) => (i === 0 ? `canopy: ${line}` : `        ${line}`));
  return `${[...lines, ...(fix === undefined ? [] : [`  fix:  ${fix}`])].join("\n")}\n`;
}
