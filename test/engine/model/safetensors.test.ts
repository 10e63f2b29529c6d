import { symlinkSync } from "node:fs";
import { join } from "node:path";
import { describe, expect, test } from "vitest";
import { openSafetensors } from "../../../engine/model/safetensors.ts";
import { SafetensorsWeights } from "../../../engine/model/safetensors-weights.ts";
import { f32Bytes, type SafeTensor, withHeader, writeSafetensors } from "./safetensors-writer.ts";
import { temporaryFolders } from "./temporary.ts";

const folderOf = temporaryFolders();
const INDEX = "model.safetensors.index.json";
const single = (dtype: string, shape: number[], bytes: readonly number[]): SafeTensor => ({
  ...{ dtype, shape, data: Uint8Array.from(bytes) },
});
const vector = (...values: number[]): SafeTensor => ({ dtype: "F32", shape: [values.length], data: f32Bytes(values) });

function failure(code: string, message: RegExp) {
  return expect.objectContaining({ name: "ModelFileError", code, message: expect.stringMatching(message) });
}

test("F32, F16 and BF16 tensors come out as f32, whatever their order in the header", () => {
  const file = writeSafetensors({
    half: single("F16", [3], [0x00, 0x3c, 0x00, 0xc0, 0xff, 0x7b]),
    brain: single("BF16", [2, 1], [0x80, 0x3f, 0x49, 0xc0]),
    full: vector(0.1, -3),
    scalar: single("F32", [], [0, 0, 0x40, 0x40]),
    empty: single("F32", [0, 4], []),
  });
  const weights = SafetensorsWeights.open(folderOf({ "model.safetensors": file }));
  expect(weights.names()).toEqual(["half", "brain", "full", "scalar", "empty"]);
  expect(weights.info("brain")).toEqual({ name: "brain", type: "BF16", shape: [2, 1] });
  expect([...weights.readF32("half")]).toEqual([1, -2, 65504]);
  expect([...weights.readF32("brain")]).toEqual([1, -3.140625]);
  expect([...weights.readF32("full")]).toEqual([Math.fround(0.1), -3]);
  expect([...weights.readF32("scalar")]).toEqual([3]);
  expect(weights.readF32("empty")).toHaveLength(0);
  expect(() => weights.readF32("other")).toThrow(failure("malformed", /no tensor other/));
  weights.close();
  expect(() => weights.readF32("full")).toThrow(/is closed/);
});

test("maps beside the weights: integers and booleans, which are no weights", () => {
  const file = writeSafetensors({
    map: { dtype: "I64", shape: [3], data: new Uint8Array(BigInt64Array.of(-2n, 0n, 128_000n).buffer) },
    mask: single("BOOL", [2], [0, 1]),
    full: vector(1),
  });
  const weights = SafetensorsWeights.open(folderOf({ "model.safetensors": file }));
  expect(weights.readIntegers("map")).toEqual([-2, 0, 128_000]);
  expect(weights.readIntegers("mask")).toEqual([0, 1]);
  expect(weights.readIntegers("full")).toBeUndefined();
  expect(weights.names()).toEqual(["full"]);
  weights.close();
});

describe("headers that are refused", () => {
  const entry = (changes: object) =>
    JSON.stringify({ t: { dtype: "F32", shape: [1], data_offsets: [0, 4], ...changes } });
  const two = (first: number[], second: number[]) =>
    JSON.stringify({
      a: { dtype: "F32", shape: [1], data_offsets: first },
      b: { dtype: "F32", shape: [1], data_offsets: second },
    });
  const huge = Buffer.alloc(16);
  huge.writeBigUInt64LE(2n ** 63n);
  test.each([
    ["length of 2^63", huge, "malformed", /header length at byte 0/],
    ["not JSON", withHeader("{]"), "malformed", /JSON/],
    ["an array", withHeader("[]"), "malformed", /not a JSON object/],
    ["not UTF-8", Buffer.concat([Buffer.from([1, 0, 0, 0, 0, 0, 0, 0]), Buffer.from([0xff])]), "malformed", /UTF-8/],
    ["deep nesting", withHeader("[".repeat(100_000)), "malformed", /nested deeper than 64/],
    ["a name given twice", withHeader('{"a":1,"a":2}'), "malformed", /"a" is given twice/],
    ["I16", withHeader(entry({ dtype: "I16" }), new Uint8Array(4)), "unsupported", /tensor t at byte 8: dtype I16/],
    ["negative dimension", withHeader(entry({ shape: [-1] })), "malformed", /tensor t/],
    ["five dimensions", withHeader(entry({ shape: [1, 1, 1, 1, 1] })), "malformed", /tensor t/],
    ["offsets against the shape", withHeader(entry({ shape: [2] }), new Uint8Array(4)), "malformed", /span 4 bytes/],
    ["offsets backwards", withHeader(entry({ data_offsets: [4, 0] })), "malformed", /span -4 bytes/],
    [
      "a product above 2^64",
      withHeader(entry({ shape: [2 ** 40, 2 ** 40], data_offsets: [0, 4] }), new Uint8Array(4)),
      ...(["malformed" as const, /needs 4835703278458516698824704/] as const),
    ],
    ["data beyond the file", withHeader(entry({ data_offsets: [4, 8] }), new Uint8Array(4)), "truncated", /tensor t/],
    ["overlap", withHeader(two([0, 4], [0, 4]), new Uint8Array(8)), "malformed", /overlaps tensor/],
    ["a hole", withHeader(two([0, 4], [8, 12]), new Uint8Array(12)), "malformed", /cover/],
    ["bytes at the end", withHeader(entry({}), new Uint8Array(5)), "malformed", /cover/],
  ])("%s", (_what, file, code, message) => {
    const path = join(folderOf({ "model.safetensors": file }), "model.safetensors");
    expect(() => openSafetensors(path)).toThrow(failure(code, message));
  });
});

describe("shards", () => {
  const shards = {
    "part-1.safetensors": writeSafetensors({ a: vector(1, 2), b: vector(3) }),
    "deeper/part-2.safetensors": writeSafetensors({ c: vector(4, 5, 6) }),
  };
  const weight_map = { a: "part-1.safetensors", c: "deeper/part-2.safetensors", b: "part-1.safetensors" };

  test("tensors come from the files that the index names", () => {
    const folder = folderOf({ ...shards, [INDEX]: { metadata: { total_size: 24 }, weight_map } });
    expect(SafetensorsWeights.isIn(folder)).toBe(true);
    const weights = SafetensorsWeights.open(folder);
    expect(weights.names()).toEqual(["a", "c", "b"]);
    expect(weights.files).toHaveLength(2);
    expect([...weights.readF32("c")]).toEqual([4, 5, 6]);
    expect([...weights.readF32("b")]).toEqual([3]);
    weights.close();
  });

  test.each([
    ["a missing shard", { ...weight_map, a: "part-3.safetensors" }, "not_found", /part-3.safetensors: no such file/],
    ["a tensor in another shard", { ...weight_map, b: "deeper/part-2.safetensors" }, "malformed", /b is not in/],
    ["a path above", { a: "../part-1.safetensors" }, "malformed", /leads outside/],
    ["an absolute path", { a: "/etc/passwd" }, "malformed", /leads outside/],
    ["an empty name", { a: "" }, "malformed", /leads outside/],
    ["a number", { a: 1 }, "malformed", /weight_map.a/],
  ])("%s is refused", (_what, map, code, message) => {
    const folder = folderOf({ ...shards, [INDEX]: { weight_map: map } });
    expect(() => SafetensorsWeights.open(folder)).toThrow(failure(code, message));
  });

  test("a link out of the folder is refused, one into the hub's blobs is followed", () => {
    const outside = folderOf(shards);
    const folder = folderOf({ [INDEX]: { weight_map: { a: "link.safetensors" } } });
    symlinkSync(join(outside, "part-1.safetensors"), join(folder, "link.safetensors"));
    expect(() => SafetensorsWeights.open(folder)).toThrow(failure("malformed", /leads outside/));

    const hub = folderOf({
      "blobs/abc": shards["part-1.safetensors"],
      [`snapshots/1/${INDEX}`]: { weight_map: { a: "link.safetensors" } },
    });
    symlinkSync("../../blobs/abc", join(hub, "snapshots/1/link.safetensors"));
    const weights = SafetensorsWeights.open(join(hub, "snapshots/1"));
    expect([...weights.readF32("a")]).toEqual([1, 2]);
    weights.close();
  });
});
