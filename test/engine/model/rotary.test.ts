import { join } from "node:path";
import { expect, test } from "vitest";
import { openGguf } from "../../../engine/model/gguf/gguf-file.ts";
import { GgufWeights, interleavedToHalves } from "../../../engine/model/gguf/weights.ts";
import { uniform } from "../../support/arrays.ts";
import { Random } from "../../support/random.ts";
import { writeGguf } from "./gguf-writer.ts";
import { f32Bytes } from "./safetensors-writer.ts";
import { temporaryFolders } from "./temporary.ts";

const folderOf = temporaryFolders();

/** llama.cpp's conversion: reshape(heads, 2, headDim / 2, columns).swapaxes(1, 2). */
function halvesToInterleaved(values: Float32Array, numHeads: number, headDim: number): Float32Array {
  const columns = values.length / (numHeads * headDim);
  return values.map((_, i) => {
    const [row, column] = [Math.floor(i / columns), i % columns];
    const [head, inHead] = [Math.floor(row / headDim), row % headDim];
    const [pair, half] = [inHead >> 1, inHead & 1];
    return values[(head * headDim + half * (headDim / 2) + pair) * columns + column] ?? Number.NaN;
  });
}

test.each([
  [1, 2, 1],
  [2, 4, 3],
  [3, 16, 5],
  [6, 64, 7],
])("rows of %i heads of %i go to GGUF's order and back", (numHeads, headDim, columns) => {
  const halves = uniform(new Random(5), numHeads * headDim * columns);
  const interleaved = halvesToInterleaved(halves, numHeads, headDim);
  if (headDim > 2) expect(interleaved).not.toEqual(halves);
  expect(interleavedToHalves(interleaved, numHeads, headDim)).toEqual(halves);
});

test("a GGUF file's query and key rows are put into halves, each by its own count of heads, and no others", () => {
  const random = new Random(6);
  const names = ["attn_q", "attn_k", "attn_v", "attn_output"];
  const [query, key, value, output] = names.map((name) => uniform(random, name === "attn_k" ? 8 * 2 : 16 * 2));
  if (!query || !key || !value || !output) throw new Error("four matrices");
  const stored = [halvesToInterleaved(query, 4, 4), halvesToInterleaved(key, 2, 4), value, output];
  const tensors = names.map((name, i) => {
    const values = stored[i] ?? new Float32Array();
    return { name: `blk.7.${name}.weight`, typeId: 0, shape: [values.length / 2, 2], data: f32Bytes(values) };
  });
  const path = join(folderOf({ "model.gguf": writeGguf({ metadata: {}, tensors }) }), "model.gguf");
  const weights = new GgufWeights(openGguf(path), { numHeads: 4, numKvHeads: 2 });
  const read = (projection: string) => weights.readF32(`model.layers.7.self_attn.${projection}_proj.weight`);
  expect(read("q")).toEqual(query);
  expect(read("k")).toEqual(key);
  expect(read("v")).toEqual(value);
  expect(read("o")).toEqual(output);
  weights.close();
});
