import fc from "fast-check";
import { expect, test } from "vitest";
import { BlockManager } from "../../kvcache/block-manager.ts";
import { BLOCK_SIZE, numBlocksFor } from "../../kvcache/ids.ts";

interface Operation {
  readonly kind: "ensure" | "commit" | "trim" | "free";
  readonly id: string;
  readonly numTokens: number;
}

/** What a table must be: block counts and computed tokens in plain numbers. */
interface Model {
  numBlocks: number;
  numComputedTokens: number;
}

const operation: fc.Arbitrary<Operation> = fc.record({
  kind: fc.constantFrom("ensure", "ensure", "commit", "trim", "free"),
  id: fc.constantFrom("a", "b", "c", "d"),
  numTokens: fc.integer({ min: 0, max: 100 }),
});

function apply(blocks: BlockManager, tables: Map<string, Model>, { kind, id, numTokens }: Operation): void {
  const table = tables.get(id);
  if (kind === "ensure") {
    const before = table ?? { numBlocks: 0, numComputedTokens: 0 };
    const numMissing = Math.max(0, numBlocksFor(numTokens) - before.numBlocks);
    const fits = numMissing <= blocks.numFreeBlocks;
    const [first, ...others] = table === undefined ? [] : [...blocks.blockTable(id)];
    expect(blocks.ensure(id, numTokens)).toBe(fits);
    if (fits) tables.set(id, { ...before, numBlocks: before.numBlocks + numMissing });
    if (first !== undefined) expect(blocks.blockTable(id).slice(0, before.numBlocks)).toEqual([first, ...others]);
    return;
  }
  if (table === undefined) return;
  const inRange = Math.min(Math.max(numTokens, table.numComputedTokens), table.numBlocks * BLOCK_SIZE);
  if (kind === "commit") {
    blocks.commit(id, inRange);
    table.numComputedTokens = inRange;
  } else if (kind === "trim") {
    blocks.trim(id, inRange);
    table.numBlocks = numBlocksFor(inRange);
  } else {
    blocks.free(id);
    tables.delete(id);
  }
}

function check(blocks: BlockManager, tables: ReadonlyMap<string, Model>): void {
  blocks.checkIntegrity();
  const numHeld = [...tables.values()].reduce((sum, { numBlocks }) => sum + numBlocks, 0);
  expect(blocks.numFreeBlocks).toBe(blocks.numAllocatableBlocks - numHeld);
  expect(blocks.numTables).toBe(tables.size);
  const slots = new Set<number>();
  for (const [id, { numBlocks, numComputedTokens }] of tables) {
    expect(blocks.blockTable(id)).toHaveLength(numBlocks);
    expect(blocks.numComputedTokens(id)).toBe(numComputedTokens);
    for (let index = 0; index < blocks.numSlots(id); index++) slots.add(blocks.slot(id, index));
  }
  expect(slots.size).toBe(numHeld * BLOCK_SIZE);
  expect(Math.min(...slots, BLOCK_SIZE)).toBe(BLOCK_SIZE);
}

test("tables are as a model of plain numbers says, no two slots coincide, and none lies in block 0", () => {
  fc.assert(
    fc.property(
      fc.integer({ min: 2, max: 14 }),
      fc.array(operation, { maxLength: 60, size: "max" }),
      (numBlocks, ops) => {
        const blocks = new BlockManager(numBlocks);
        const tables = new Map<string, Model>();
        for (const op of ops) {
          apply(blocks, tables, op);
          check(blocks, tables);
        }
        for (const id of tables.keys()) blocks.free(id);
        expect(blocks.numFreeBlocks).toBe(blocks.numAllocatableBlocks);
        expect(blocks.usage).toBe(0);
      },
    ),
    { numRuns: 300 },
  );
});
