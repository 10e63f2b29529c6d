import { join } from "node:path";
import { gguf as oracle } from "@huggingface/gguf";
import { describe, expect, test } from "vitest";
import { bundledModelsDir } from "../../../engine/model/bundled.ts";
import { openGguf } from "../../../engine/model/gguf/gguf-file.ts";
import { readTensorF32 } from "../../../engine/model/tensor-data.ts";
import { Random } from "../../support/random.ts";
import { type GgufContents, writeGguf } from "./gguf-writer.ts";
import { f32Bytes } from "./safetensors-writer.ts";
import { temporaryFolders } from "./temporary.ts";
import { ggufMetadata, ggufTensors } from "./tiny-model.ts";

const folderOf = temporaryFolders();
const EVERY_TYPE: GgufContents["metadata"] = {
  "a.u8": { type: "u8", value: 255 },
  "a.i8": { type: "i8", value: -128 },
  "a.u16": { type: "u16", value: 65535 },
  "a.i16": { type: "i16", value: -32768 },
  "a.u32": { type: "u32", value: 0xffffffff },
  "a.i32": { type: "i32", value: -0x80000000 },
  "a.f32": { type: "f32", value: 0.1 },
  "a.bool": { type: "bool", value: true },
  "a.string": { type: "string", value: "päge ▁ 🌱" },
  "a.empty": { type: "string", value: "" },
  "a.u64": { type: "u64", value: 2n ** 64n - 1n },
  "a.i64": { type: "i64", value: -(2n ** 63n) },
  "a.f64": { type: "f64", value: Math.PI },
  "a.strings": { type: "string", value: ["", "b", "ż"] },
  "a.floats": { type: "f32", value: [0.5, -1.25] },
  "a.longs": { type: "i64", value: [1n, -1n] },
  "a.bools": { type: "bool", value: [true, false] },
  "a.none": { type: "u16", value: [] },
};

function write(contents: GgufContents): string {
  return join(folderOf({ "model.gguf": writeGguf(contents) }), "model.gguf");
}

describe("headers read as @huggingface/gguf reads them", () => {
  test.each([
    { what: "sapling-14m", path: () => join(bundledModelsDir(), "sapling-14m/sapling-14m-q8_0.gguf") },
    { what: "every value type", path: () => write({ metadata: EVERY_TYPE, tensors: ggufTensors() }) },
    { what: "version 2", path: () => write({ version: 2, metadata: ggufMetadata(), tensors: ggufTensors() }) },
    {
      what: "alignment 256",
      path: () =>
        write({
          alignment: 256,
          metadata: { ...EVERY_TYPE, "general.alignment": { type: "u32", value: 256 } },
          tensors: ggufTensors(),
        }),
    },
    {
      what: "other tensor types and ranks",
      path: () =>
        write({
          metadata: EVERY_TYPE,
          tensors: [
            { name: "f16", typeId: 1, shape: [2, 3], data: new Uint8Array(12) },
            { name: "bf16", typeId: 30, shape: [2, 3, 2, 2], data: new Uint8Array(48) },
            { name: "q4_0", typeId: 2, shape: [3, 64], data: new Uint8Array(108) },
            { name: "q4_1", typeId: 3, shape: [1, 32], data: new Uint8Array(20) },
            { name: "q5_0", typeId: 6, shape: [2, 32], data: new Uint8Array(44) },
            { name: "q5_1", typeId: 7, shape: [32], data: new Uint8Array(24) },
            { name: "q2_k", typeId: 10, shape: [2, 256], data: new Uint8Array(168) },
            { name: "q3_k", typeId: 11, shape: [1, 512], data: new Uint8Array(220) },
            { name: "q4_k", typeId: 12, shape: [256], data: new Uint8Array(144) },
            { name: "q5_k", typeId: 13, shape: [3, 256], data: new Uint8Array(528) },
            { name: "q6_k", typeId: 14, shape: [1, 256], data: new Uint8Array(210) },
            { name: "scalar", typeId: 0, shape: [], data: f32Bytes([3]) },
          ],
        }),
    },
  ])("$what", async ({ path: makePath }) => {
    const path = makePath();
    const opened = openGguf(path);
    opened.file.close();
    const expected = await oracle(path, { allowLocalFile: true });
    const { version, tensor_count, kv_count, ...pairs } = expected.metadata as Record<string, unknown>;
    expect(opened.version).toBe(version);
    expect(BigInt(opened.metadata.values.size)).toBe(kv_count);
    expect(BigInt(opened.tensors.size)).toBe(tensor_count);
    expect(Object.fromEntries(opened.metadata.values)).toEqual(pairs);
    const typeIds = {
      ...{ F32: 0, F16: 1, Q4_0: 2, Q4_1: 3, Q5_0: 6, Q5_1: 7, Q8_0: 8, BF16: 30 },
      ...{ Q2_K: 10, Q3_K: 11, Q4_K: 12, Q5_K: 13, Q6_K: 14 },
    };
    const found = [...opened.tensors.values()].map(({ name, type, shape, offset }) => ({
      ...{ name, dtype: typeIds[type], n_dims: shape.length, shape: shape.toReversed().map(BigInt) },
      offset: BigInt(offset) - expected.tensorDataOffset,
    }));
    expect(found).toEqual(expected.tensorInfos);
  });
});

test("a tensor larger than the piece that is read at a time comes out whole", () => {
  const numBlocks = 140_000;
  const random = new Random(3);
  const data = Buffer.alloc(34 * numBlocks);
  for (let at = 0; at < data.length; at += 34) {
    data.writeUInt16LE(0x3c00, at);
    data.writeInt8(random.int(-128, 127), at + 2 + ((at / 34) % 32));
  }
  const path = write({ metadata: {}, tensors: [{ name: "big", typeId: 8, shape: [numBlocks, 32], data }] });
  const { file, tensors } = openGguf(path);
  const extent = tensors.get("big");
  if (extent === undefined) throw new Error("no tensor");
  const values = readTensorF32(file, extent);
  file.close();
  expect(values).toHaveLength(numBlocks * 32);
  const wrong = values.findIndex((value, i) => {
    const block = Math.floor(i / 32);
    return value !== data.readInt8(block * 34 + 2 + (i % 32));
  });
  expect(wrong).toBe(-1);
});

describe("errors name field and offset", () => {
  const bytes = () => writeGguf({ metadata: { key: { type: "u32", value: 1 } }, tensors: ggufTensors() });
  const edited = (edit: (file: Buffer) => void) => {
    const file = bytes();
    edit(file);
    return file;
  };
  const one = (tensor: Partial<GgufContents["tensors"][number]>, metadata: GgufContents["metadata"] = {}) =>
    writeGguf({ metadata, tensors: [{ name: "t", typeId: 0, shape: [4], data: new Uint8Array(16), ...tensor }] });
  const pair = (type: number, ...value: number[]) => {
    const head = Buffer.from([..."GGUF"].map((c) => c.charCodeAt(0)));
    const rest = [3, 0, 0, 0, ...Array(8).fill(0), 1, ...Array(7).fill(0), 1, ...Array(7).fill(0), 0x6b, type, 0, 0, 0];
    return Buffer.concat([head, Buffer.from([...rest, ...value])]);
  };
  test.each([
    ["magic", edited((f) => f.write("GGML")), "malformed", /magic at byte 0: not a GGUF file/],
    ["version 1", edited((f) => f.writeUInt32LE(1, 4)), "unsupported", /version at byte 4: version 1; supported/],
    ["big endian", edited((f) => f.writeUInt32BE(3, 4)), "unsupported", /big-endian/],
    ["tensor count", edited((f) => f.writeBigUInt64LE(2n ** 63n, 8)), "malformed", /tensor count at byte 8/],
    ["metadata count", edited((f) => f.writeBigUInt64LE(60000n, 16)), "truncated", /metadata at byte 24/],
    ["key length", edited((f) => f.writeBigUInt64LE(2n ** 62n, 24)), "malformed", /metadata key 0 at byte 24/],
    ["value type", edited((f) => f.writeUInt32LE(13, 35)), "malformed", /metadata "key" at byte 35: unknown value/],
    ["boolean", pair(7, 2), "malformed", /metadata "k" at byte 37: boolean is 2/],
    ["nested array", pair(9, 9, 0, 0, 0), "malformed", /array in an array/],
    ["array length", pair(9, 4, 0, 0, 0, 0, 0, 128, 0, 0, 0, 0, 0), "truncated", /metadata "k" at byte 49/],
    ["UTF-8", pair(8, 1, 0, 0, 0, 0, 0, 0, 0, 255), "malformed", /metadata "k" at byte 45: string is not UTF-8/],
    ["alignment", one({}, { "general.alignment": { type: "u32", value: 48 } }), "malformed", /not a power of two/],
    ["split", one({}, { "split.count": { type: "u16", value: 2 } }), "unsupported", /gguf-split --merge/],
    ["other quants", one({ typeId: 20 }), "unsupported", /tensor t at byte \d+: tensor type IQ4_NL; supported: F32/],
    ["new type", one({ typeId: 99 }), "unsupported", /number 99/],
    ["five dimensions", one({ shape: [1, 1, 1, 1, 4] }), "malformed", /5 dimensions/],
    ["zero dimension", one({ shape: [0, 4] }), "malformed", /a dimension is 0/],
    ["ragged blocks", one({ typeId: 8, shape: [1, 33] }), "malformed", /rows of 33/],
    ["product above 2^64", one({ shape: [2 ** 31, 2 ** 31, 2 ** 31, 4] }), "truncated", /tensor t/],
  ])("%s", (_what, file, code, message) => {
    const path = join(folderOf({ "model.gguf": file }), "model.gguf");
    expect(() => openGguf(path)).toThrow(
      expect.objectContaining({ name: "ModelFileError", code, file: path, message: expect.stringMatching(message) }),
    );
  });

  test.each([
    ["duplicate tensors", ["t", "t"], [0, 64], /tensor t at byte \d+: duplicate name/],
    ["overlap", ["a", "b"], [0, 0], /tensor b at byte \d+: overlaps tensor a/],
    ["misaligned offset", ["a", "b"], [0, 20], /tensor b at byte \d+: offset 20 is not a multiple of 32/],
  ])("%s", (_what, names, offsets, message) => {
    const tensors = names.map((name) => ({ name, typeId: 0, shape: [8], data: new Uint8Array(32) }));
    const file = writeGguf({ metadata: {}, tensors });
    // Records are 8 + 1 + 4 + 8 + 4 + 8 bytes; the offset comes last.
    offsets.forEach((offset, i) => {
      file.writeBigUInt64LE(BigInt(offset), 24 + 33 * (i + 1) - 8);
    });
    const path = join(folderOf({ "model.gguf": file }), "model.gguf");
    expect(() => openGguf(path)).toThrow(
      expect.objectContaining({ code: "malformed", message: expect.stringMatching(message) }),
    );
  });
});
