import { join } from "node:path";
import { describe, expect, test } from "vitest";
import { TENSOR_LAYOUTS } from "../../../engine/model/dequantize.ts";
import { ModelFile } from "../../../engine/model/model-file.ts";
import { readTensorBlocks } from "../../../engine/model/tensor-blocks.ts";
import { readTensorF32 } from "../../../engine/model/tensor-data.ts";
import type { TensorType } from "../../../engine/model/types.ts";
import { expandBlocks } from "../../../kernels/index.ts";
import { Random } from "../../support/random.ts";
import { randomBlocks } from "./block-formulas.ts";
import { temporaryFolders } from "./temporary.ts";

const folderOf = temporaryFolders();
const NUM_ELEMENTS = 8 * 256;
/** Bytes before the tensor, so that an offset that is forgotten shows. */
const OFFSET = 64;

/** What each type is held as on the device; the others are dequantised. */
const SPLIT: Partial<Record<TensorType, "q8" | "q4">> = { Q8_0: "q8", Q4_0: "q4", Q4_1: "q4", Q4_K: "q4" };
const FULL: readonly TensorType[] = ["F32", "F16", "BF16"];

describe.each(Object.keys(TENSOR_LAYOUTS) as TensorType[])("%s", (type) => {
  const { blockSize, blockBytes } = TENSOR_LAYOUTS[type];
  const numBlocks = NUM_ELEMENTS / blockSize;
  const extent = {
    ...{ name: "w", type, shape: [8, 256], offset: OFFSET },
    ...{ numElements: NUM_ELEMENTS, numBytes: numBlocks * blockBytes },
  };

  test("blocks stand for the values that readF32 gives", () => {
    const data = Buffer.concat([Buffer.alloc(OFFSET, 0xaa), randomBlocks(new Random(11), type, numBlocks)]);
    const file = ModelFile.open(join(folderOf({ w: data }), "w"));
    const blocks = readTensorBlocks(file, extent);
    const expected = readTensorF32(file, extent);
    file.close();
    expect(blocks.format).toBe(SPLIT[type] ?? "float");
    if (blocks.format === "float") expect(blocks.lowPrecision).toBe(!FULL.includes(type));
    const values = expandBlocks(blocks);
    expect(values).toHaveLength(NUM_ELEMENTS);
    // Equal numbers: a zero may have the other sign.
    expect(values.findIndex((value, i) => value !== expected[i])).toBe(-1);
    expect(new Set(expected).size).toBeGreaterThan(100);
  });
});
