import { expect, test } from "vitest";
import { openDrafter } from "../../../engine/model/drafter-files.ts";
import { readSuccessors, SUCCESSOR_FILE, successorFile } from "../../../engine/model/successor-file.ts";
import { f32Bytes, writeSafetensors } from "./safetensors-writer.ts";
import { temporaryFolders } from "./temporary.ts";

const folderOf = temporaryFolders();
const TABLE = {
  numSuccessors: 2,
  tokenIds: [0, 2, 1, 2, 0, 1],
  logRatios: Float32Array.of(0.5, -1, 2, 0, 1.5, -0.25),
  others: Float32Array.of(-3, -2, -1.5),
};
const ints = (...values: number[]) => ({
  ...{ dtype: "I32", shape: [values.length] },
  data: new Uint8Array(Int32Array.from(values).buffer),
});
const floats = (...values: number[]) => ({ dtype: "F32", shape: [values.length], data: f32Bytes(values) });

test("what was written is read, with a digest that tells tables apart", () => {
  const read = (table: typeof TABLE) =>
    readSuccessors(folderOf({ [SUCCESSOR_FILE]: Buffer.from(successorFile(table)) }));
  const found = read(TABLE);
  expect(found).toMatchObject(TABLE);
  expect(found?.digest).not.toBe(read({ ...TABLE, others: Float32Array.of(-3, -2, -1) })?.digest);
  expect(readSuccessors(folderOf({ "config.json": {} }))).toBeUndefined();
});

test("it belongs to the heads beside which it lies", () => {
  const heads = {
    "config.json": { medusa_num_heads: 1 },
    "model.safetensors": writeSafetensors({ "0.0.linear.weight": floats(0) }),
  };
  const [without, with_] = [heads, { ...heads, [SUCCESSOR_FILE]: Buffer.from(successorFile(TABLE)) }].map((files) => {
    const opened = openDrafter(folderOf(files));
    opened.weights.close();
    return opened;
  });
  expect(without).not.toHaveProperty("successors");
  expect(with_).toMatchObject({ kind: "medusa", successors: TABLE });
  expect(with_?.digest).not.toBe(without?.digest);
});

test.each([
  ["no tokens", { log_ratios: floats(1), other_log_ratios: floats(1) }, /no tensor token_ids/],
  [
    "sizes that differ",
    { token_ids: ints(0, 1, 0), log_ratios: floats(1, 1, 1), other_log_ratios: floats(0, 0) },
    /do not go together: 3 token_ids, 3 log_ratios, 2 other_log_ratios/,
  ],
  [
    "a token beyond the vocabulary",
    { token_ids: ints(0, 2), log_ratios: floats(1, 1), other_log_ratios: floats(0, 0) },
    /token_ids\[1\] is 2/,
  ],
  [
    "tokens that fall",
    { token_ids: ints(1, 0, 0, 1), log_ratios: floats(1, 1, 1, 1), other_log_ratios: floats(0, 0) },
    /token_ids\[1\] is 0/,
  ],
  [
    "what is no number",
    { token_ids: ints(0, 1), log_ratios: floats(1, Number.NaN), other_log_ratios: floats(0, 0) },
    /not a number/,
  ],
])("%s: refused", (_, tensors, message) => {
  const folder = folderOf({ [SUCCESSOR_FILE]: writeSafetensors(tensors) });
  expect(() => readSuccessors(folder)).toThrow(message);
});
