import { readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { getHeapStatistics } from "node:v8";
import { describe, expect, test } from "vitest";
import { ModelFileError } from "../../../engine/errors.ts";
import { openModel } from "../../../engine/model/open.ts";
import { fuzz, Outcomes } from "../../support/fuzz.ts";
import { mutateBytes, mutateJson } from "../../support/mutations.ts";
import { Random } from "../../support/random.ts";
import { writeSafetensors } from "./safetensors-writer.ts";
import { temporaryFolders } from "./temporary.ts";
import { hfFolder, hfTensors, tinyGguf } from "./tiny-model.ts";

const folderOf = temporaryFolders();
/** The files are below 10 kB. What zod and the JSON parser leave behind is a few MB at most. */
const MAX_ALLOCATED_BYTES = 32 << 20;

/** Opens and reads every weight: "opened", or the code of the ModelFileError. @throws whatever else is thrown. */
function attempt(path: string): "opened" | ModelFileError["code"] {
  const before = allocatedBytes();
  try {
    const { weights } = openModel(path);
    try {
      for (const name of weights.names()) weights.readF32(name);
    } finally {
      weights.close();
    }
    return "opened";
  } catch (error) {
    if (!(error instanceof ModelFileError)) throw error;
    return error.code;
  } finally {
    expect(allocatedBytes() - before).toBeLessThan(MAX_ALLOCATED_BYTES);
  }
}

function allocatedBytes(): number {
  const heap = getHeapStatistics();
  return heap.used_heap_size + heap.external_memory;
}

function shardedFolder(): Record<string, Uint8Array | object> {
  const { "model.safetensors": _, ...rest } = hfFolder();
  const entries = Object.entries(hfTensors());
  const weight_map = Object.fromEntries(entries.map(([name], i) => [name, `part-${i % 2}.safetensors`]));
  const part = (rest: number) => writeSafetensors(Object.fromEntries(entries.filter((_, i) => i % 2 === rest)));
  return {
    ...rest,
    // As real ones have it; here it is also where an edit does no harm.
    ...{ "model.safetensors.index.json": { metadata: { total_size: 512, comment: "-".repeat(300) }, weight_map } },
    ...{ "part-0.safetensors": part(0), "part-1.safetensors": part(1) },
  };
}

describe("a file that is cut short at any byte", () => {
  test.each([
    { kind: "GGUF", files: () => ({ "model.gguf": tinyGguf() }), name: "model.gguf" },
    { kind: "safetensors", files: hfFolder, name: "model.safetensors" },
  ])("is truncated: $kind", ({ files, name }) => {
    const folder = folderOf(files());
    const path = join(folder, name);
    const whole = readFileSync(path);
    expect(attempt(folder)).toBe("opened");
    for (let length = 0; length < whole.length; length++) {
      writeFileSync(path, whole.subarray(0, length));
      const outcome = attempt(folder);
      if (outcome !== "truncated") expect.fail(`${outcome} at ${length} of ${whole.length} bytes`);
    }
  });
});

describe("a damaged file opens or gives a ModelFileError", () => {
  test.each([
    { name: "model.gguf", files: () => ({ "model.gguf": tinyGguf() }), mutate: mutateBytes, rounds: 4000 },
    { name: "model.safetensors", files: hfFolder, mutate: mutateBytes, rounds: 2000 },
    { name: "config.json", files: hfFolder, mutate: mutateJson, rounds: 1500 },
    { name: "tokenizer.json", files: hfFolder, mutate: mutateJson, rounds: 500 },
    { name: "tokenizer_config.json", files: hfFolder, mutate: mutateJson, rounds: 500 },
    { name: "generation_config.json", files: hfFolder, mutate: mutateJson, rounds: 500 },
    { name: "model.safetensors.index.json", files: shardedFolder, mutate: mutateJson, rounds: 1000 },
  ])("$rounds mutations of $name", async ({ name, files, mutate, rounds }) => {
    const folder = folderOf(files());
    const path = join(folder, name);
    const whole = readFileSync(path);
    expect(attempt(folder)).toBe("opened");
    const outcomes = new Outcomes();
    const numRounds = await fuzz(rounds, (seed) => {
      writeFileSync(path, mutate(whole, new Random(seed)));
      outcomes.add(attempt(folder));
    });
    console.log(`${name}: ${numRounds} rounds: ${outcomes}`);
    for (const outcome of ["malformed", "opened"])
      expect(outcomes.count(outcome), outcome).toBeGreaterThan(numRounds / 50);
  });
});
