import { describe, expect, test } from "vitest";
import { BlockManager } from "../../kvcache/block-manager.ts";
import { BlockPool } from "../../kvcache/block-pool.ts";
import type { BlockId } from "../../kvcache/ids.ts";
import { InvariantError } from "../../kvcache/invariant.ts";

describe("BlockManager", () => {
  test("a table grows by whole blocks, and only by those that are missing", () => {
    const blocks = new BlockManager(6);
    const lengths = [1, 16, 17, 5, 33].map((numTokens) => {
      expect(blocks.ensure("a", numTokens)).toBe(true);
      return blocks.blockTable("a").length;
    });
    expect(lengths).toEqual([1, 1, 2, 2, 3]);
    expect(blocks.numSlots("a")).toBe(48);
    expect(blocks.usage).toBeCloseTo(3 / 5, 12);
  });

  test("growth is all or nothing", () => {
    const blocks = new BlockManager(4);
    blocks.ensure("a", 16);
    expect(blocks.ensure("b", 33)).toBe(false);
    expect(blocks.has("b")).toBe(false);
    expect(blocks.ensure("a", 49)).toBe(false);
    expect(blocks.blockTable("a")).toHaveLength(1);
    expect(blocks.numFreeBlocks).toBe(2);
    blocks.checkIntegrity();
  });

  test("slot i is offset i mod 16 of block i div 16 of the table", () => {
    const blocks = new BlockManager(5);
    blocks.ensure("a", 1);
    blocks.ensure("b", 1);
    blocks.ensure("a", 17);
    expect(blocks.blockTable("a")).toEqual([1, 3]);
    expect([0, 15, 16, 31].map((index) => blocks.slot("a", index))).toEqual([16, 31, 48, 63]);
    expect(() => blocks.slot("a", 32)).toThrow(/slot 32 of a is not allocated/);
  });

  test("trim gives back lookahead blocks and never one with computed tokens", () => {
    const blocks = new BlockManager(6);
    blocks.ensure("a", 60);
    blocks.commit("a", 18);
    blocks.trim("a", 18);
    expect(blocks.blockTable("a")).toEqual([1, 2]);
    expect(blocks.numComputedTokens("a")).toBe(18);
    expect(() => blocks.trim("a", 17)).toThrow(InvariantError);
    expect(blocks.ensure("b", 48)).toBe(true);
    blocks.checkIntegrity();
  });

  test("computed tokens only grow, within the table, until the table is freed", () => {
    const blocks = new BlockManager(3);
    blocks.ensure("a", 16);
    blocks.commit("a", 16);
    expect(() => blocks.commit("a", 15)).toThrow(/commit of 15 tokens after 16/);
    expect(() => blocks.commit("a", 17)).toThrow(/17 tokens after 16, 16 slots/);
    blocks.free("a");
    blocks.ensure("a", 16);
    expect(blocks.numComputedTokens("a")).toBe(0);
  });

  test("without a table there is nothing to read, and nothing to free twice", () => {
    const blocks = new BlockManager(3);
    blocks.ensure("a", 20);
    blocks.free("a");
    expect(blocks.numSlots("a")).toBe(0);
    expect(blocks.numTables).toBe(0);
    expect(blocks.usage).toBe(0);
    for (const use of [() => blocks.free("a"), () => blocks.blockTable("a"), () => blocks.commit("a", 0)])
      expect(use).toThrow(/sequence a has no block table/);
  });

  test("the integrity check names a block whose holders are counted wrong", () => {
    const pool = new BlockPool(4);
    const blocks = new BlockManager(pool);
    blocks.ensure("a", 20);
    const [first] = blocks.blockTable("a");
    if (first === undefined) throw new Error("the table is empty");
    pool.retain(first);
    expect(() => blocks.checkIntegrity()).toThrow(/block 1: reference count 2, but 1 tables hold it/);
    pool.free(first);
    pool.free(first);
    expect(() => blocks.checkIntegrity()).toThrow(/block 1: reference count 0, but 1 tables hold it/);
  });

  test("the integrity check names a table that has a block twice", () => {
    const blocks = new BlockManager(4);
    blocks.ensure("a", 20);
    const table = blocks.blockTable("a") as BlockId[];
    table.push(...table.slice(0, 1));
    expect(() => blocks.checkIntegrity()).toThrow(/a: a block is twice in its table/);
  });
});
