import { readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { getHeapStatistics } from "node:v8";
import { describe, expect, test } from "vitest";
import { ModelFileError } from "../../../engine/errors.ts";
import { openModel } from "../../../engine/model/open.ts";
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

const EXTREME = [0n, 1n, 0x7fffffffn, 0xffffffffn, 2n ** 53n, 2n ** 63n - 1n, 2n ** 63n, 2n ** 64n - 1n];

/** One to three random edits of a binary file. */
function mutateBytes(original: Buffer, random: Random): Buffer {
  let bytes = Buffer.from(original);
  for (let edits = random.int(1, 3); edits > 0; edits--) {
    // Headers are in the front, where most of what can go wrong is.
    const end = random.next() < 0.7 ? Math.min(bytes.length, 1600) : bytes.length;
    const at = random.int(0, Math.max(0, end - 9));
    switch (random.int(0, 4)) {
      case 0:
        bytes[at] = random.int(0, 255);
        break;
      case 1:
        bytes[at] = (bytes[at] ?? 0) ^ (1 << random.int(0, 7));
        break;
      case 2:
        if (bytes.length >= 8) bytes.writeBigUInt64LE(random.pick(EXTREME), at);
        break;
      case 3:
        bytes = Buffer.concat([bytes.subarray(0, at), bytes.subarray(at + random.int(1, 40))]);
        break;
      default:
        bytes = Buffer.concat([bytes.subarray(0, at + 8), bytes.subarray(at)]);
    }
  }
  return bytes;
}

const WORDS = [
  "null",
  "true",
  "-1",
  "0.5",
  "1e308",
  "1e999",
  "[]",
  "{}",
  '""',
  '"__proto__"',
  "9007199254740993",
  "\0",
];

/** One to three random edits of a JSON text: a byte, a cut, or a value in the place of another. */
function mutateJson(original: Buffer, random: Random): Buffer {
  let text = original.toString("latin1");
  for (let edits = random.int(1, 3); edits > 0; edits--) {
    const at = random.int(0, text.length);
    if (random.next() < 0.6) {
      const values = [...text.matchAll(/(?<=[:,[]\s*)("[^"]*"|[\d.]+|true|false|null)/g)];
      const { index = 0, 0: value = "" } = values.length > 0 ? random.pick(values) : {};
      text = text.slice(0, index) + random.pick(WORDS) + text.slice(index + value.length);
    } else if (random.next() < 0.5) {
      text = text.slice(0, at) + String.fromCharCode(random.int(0, 255)) + text.slice(at + 1);
    } else {
      text = text.slice(0, at) + text.slice(at + random.int(1, 20));
    }
  }
  return Buffer.from(text, "latin1");
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
  ])("$rounds mutations of $name", ({ name, files, mutate, rounds }) => {
    const folder = folderOf(files());
    const path = join(folder, name);
    const whole = readFileSync(path);
    expect(attempt(folder)).toBe("opened");
    const outcomes = new Map<string, number>();
    for (let seed = 0; seed < rounds; seed++) {
      const bytes = mutate(whole, new Random(seed));
      writeFileSync(path, bytes);
      let outcome: string;
      try {
        outcome = attempt(folder);
      } catch (error) {
        throw new Error(`seed ${seed} of ${name}`, { cause: error });
      }
      outcomes.set(outcome, (outcomes.get(outcome) ?? 0) + 1);
    }
    // The edits must reach both sides of the checks, or they test nothing.
    expect(outcomes.get("malformed") ?? 0).toBeGreaterThan(rounds / 50);
    expect(outcomes.get("opened") ?? 0).toBeGreaterThan(rounds / 50);
  });
});
