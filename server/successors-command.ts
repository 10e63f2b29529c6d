import { writeFileSync } from "node:fs";
import { parseArgs } from "node:util";
import { SUCCESSOR_FILE, successorFile } from "../engine/model/successor-file.ts";
import type { AdapterChoice } from "../kernels/index.ts";
import { configSchema } from "./config.ts";
import { UsageError } from "./config-load.ts";

export interface SuccessorsOptions {
  readonly model: string;
  /** Where the table goes. */
  readonly out: string;
  readonly adapter: AdapterChoice;
}

export function successorsHelp(): string {
  return `Find out which tokens a model has after which, for its Medusa heads: a table of each token's likeliest successors. In the
folder of the heads it tells which of their guesses go together.

Usage
  canopy successors [MODEL] [options]

Options
  MODEL                             a bundled name, a folder or a .gguf file: the heads' target (default: sapling-14m)
  --out FILE                        where to write the table (default: ${SUCCESSOR_FILE})
  --adapter auto|gpu|software       where to run (default: auto)

Example
  canopy successors ./vicuna-7b --out ./vicuna-7b-medusa/${SUCCESSOR_FILE}
`;
}

/** @param args those after `successors` @throws UsageError */
export function successorsOptions(args: readonly string[]): SuccessorsOptions {
  const { values, positionals } = parse(args);
  const [model = "sapling-14m", ...more] = positionals;
  if (more.length > 0)
    throw new UsageError(`successors are those of one model, but more are given: ${more.join(", ")}`);
  const adapter = configSchema.shape.adapter.safeParse(values.adapter);
  if (!adapter.success) {
    throw new UsageError(`--adapter ${adapter.error.issues[0]?.message ?? "is not known"}, not "${values.adapter}"`);
  }
  return { model, out: values.out ?? SUCCESSOR_FILE, adapter: adapter.data };
}

function parse(args: readonly string[]) {
  try {
    const options = { out: { type: "string" }, adapter: { type: "string" } } as const;
    return parseArgs({ args: [...args], options, allowPositionals: true });
  } catch (error) {
    throw new UsageError(`${error instanceof Error ? error.message : String(error)}; see canopy successors --help`);
  }
}

/** @throws ModelFileError, GpuError, or what keeps the file from being written */
export async function runSuccessors(args: readonly string[], output: NodeJS.WritableStream): Promise<void> {
  const { model, out, adapter } = successorsOptions(args);
  // Help and usage errors should not wait for the GPU library.
  const { findSuccessors } = await import("../engine/speculative/medusa/find-successors.ts");
  let tenths = 0;
  const table = await findSuccessors(model, adapter, (numDone, numTokens) => {
    const now = Math.floor((10 * numDone) / numTokens);
    if (now > tenths) output.write(`${numDone} of ${numTokens} tokens\n`);
    tenths = now;
  });
  writeFileSync(out, successorFile(table));
  output.write(`${out}: ${table.numSuccessors} successors of each of ${table.others.length} tokens\n`);
}
