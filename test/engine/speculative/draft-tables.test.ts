import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { DraftTables } from "../../../engine/speculative/draft-tables.ts";
import { BlockManager } from "../../../kvcache/block-manager.ts";

const NUM_BLOCKS = 12;
const TOKENS = Array.from({ length: 40 }, (_, i) => i);

/** A table of `id` with slots for `numTokens`. @returns its name */
function begin(tables: DraftTables, id: string, numTokens: number): string {
  tables.begin(id, TOKENS);
  const table = tables.tableOf(id) ?? expect.fail();
  expect(tables.blocks.ensure(table, numTokens)).toBe(true);
  return table;
}

describe("tables of a drafter", () => {
  test("keep what a pass under way may write until the last of the passes has ended", () => {
    const tables = new DraftTables(new BlockManager(NUM_BLOCKS));
    const old = begin(tables, "a", 40);
    const held = [...tables.blocks.blockTable(old)];
    tables.hold();
    tables.hold();
    tables.end("a");
    const anew = begin(tables, "a", 40);
    expect(anew).not.toBe(old);
    expect(tables.blocks.blockTable(anew).filter((block) => held.includes(block))).toEqual([]);
    tables.release();
    expect(tables.blocks.has(old)).toBe(true);
    tables.release();
    expect(tables.blocks.has(old)).toBe(false);
    expect(tables.blocks.numFreeBlocks).toBe(NUM_BLOCKS - 1 - 3);
    tables.checkIntegrity([{ id: "a", numTokens: 40 }]);
    tables.end("a");
    tables.checkIntegrity([]);
    expect(tables.blocks.usage).toBe(0);
  });

  test("whatever begins and ends while passes come and go: no block of theirs is handed out, and none is lost", () => {
    const operation = fc.record({
      kind: fc.constantFrom("begin" as const, "end" as const, "hold" as const, "release" as const),
      id: fc.constantFrom("a", "b", "c", "d"),
    });
    fc.assert(
      fc.property(fc.array(operation, { maxLength: 60 }), (operations) => {
        const tables = new DraftTables(new BlockManager(200));
        const live = new Set<string>();
        /** Blocks that each pass under way may write. */
        const passes: Set<number>[] = [];
        for (const { kind, id } of operations) {
          if (kind === "begin" && !live.has(id)) {
            const table = begin(tables, id, 20);
            for (const block of tables.blocks.blockTable(table)) {
              for (const pass of passes) expect(pass.has(block)).toBe(false);
            }
            live.add(id);
          } else if (kind === "end") {
            tables.end(id);
            live.delete(id);
          } else if (kind === "hold") {
            tables.hold();
            const ofAll = [...live].flatMap((one) => tables.blocks.blockTable(tables.tableOf(one) ?? ""));
            passes.push(new Set(ofAll));
          } else if (kind === "release" && passes.length > 0) {
            tables.release();
            passes.shift();
          }
          tables.checkIntegrity([...live].map((one) => ({ id: one, numTokens: 20 })));
        }
        for (const _ of passes) tables.release();
        for (const id of live) tables.end(id);
        expect(tables.blocks.usage).toBe(0);
      }),
      { numRuns: 200 },
    );
  });

  test("the integrity check names a table of no one, and one that is ahead of its text", () => {
    const tables = new DraftTables(new BlockManager(NUM_BLOCKS));
    const table = begin(tables, "a", 20);
    expect(() => tables.checkIntegrity([])).toThrow(/table of a, which is not in flight/);
    tables.blocks.commit(table, 20);
    expect(() => tables.checkIntegrity([{ id: "a", numTokens: 19 }])).toThrow(/a: .* of 20 tokens, 19 are known/);
    tables.blocks.ensure("stray", 1);
    expect(() => tables.checkIntegrity([{ id: "a", numTokens: 20 }])).toThrow(/2 tables, 1 of them/);
  });
});
