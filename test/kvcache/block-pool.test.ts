import { describe, expect, test } from "vitest";
import { BlockPool } from "../../kvcache/block-pool.ts";
import type { BlockId } from "../../kvcache/ids.ts";
import { InvariantError } from "../../kvcache/invariant.ts";

const block = (id: number): BlockId => id as BlockId;

describe("BlockPool", () => {
  test("hands out every block but the reserved one, each once, then none", () => {
    const pool = new BlockPool(5);
    const blocks = Array.from({ length: 5 }, () => pool.allocate());
    expect(blocks).toEqual([1, 2, 3, 4, undefined]);
    expect(pool.numFreeBlocks).toBe(0);
    expect(pool.numAllocatableBlocks).toBe(4);
    pool.checkIntegrity();
  });

  test("hands out again what was freed last", () => {
    const pool = new BlockPool(4);
    for (let i = 0; i < 3; i++) pool.allocate();
    pool.free(block(3));
    pool.free(block(1));
    expect([pool.allocate(), pool.allocate()]).toEqual([1, 3]);
  });

  test("a block is free only when its last holder has freed it", () => {
    const pool = new BlockPool(2);
    pool.allocate();
    pool.retain(block(1));
    expect(pool.refCount(block(1))).toBe(2);
    pool.free(block(1));
    expect(pool.allocate()).toBeUndefined();
    pool.free(block(1));
    expect(pool.allocate()).toBe(1);
    pool.checkIntegrity();
  });

  test.each<[string, (pool: BlockPool) => void, RegExp]>([
    ["double free", (pool) => pool.free(block(2)), /double free of block 2/],
    ["retain of a free block", (pool) => pool.retain(block(2)), /retain of free block 2/],
    ["use of the reserved block", (pool) => pool.free(block(0)), /block 0 is reserved/],
    ["use of a block outside the storage", (pool) => pool.free(block(3)), /block 3 is outside the pool of 3/],
  ])("refuses %s and stays sound", (_, misuse, message) => {
    const pool = new BlockPool(3);
    pool.allocate();
    expect(() => misuse(pool)).toThrow(InvariantError);
    expect(() => misuse(pool)).toThrow(message);
    expect(pool.numFreeBlocks).toBe(1);
    pool.checkIntegrity();
  });

  test.each([1, 0, -3, 2.5, Number.NaN])("refuses a storage of %d blocks", (numBlocks) => {
    expect(() => new BlockPool(numBlocks)).toThrow(InvariantError);
  });
});
