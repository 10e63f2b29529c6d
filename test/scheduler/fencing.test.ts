import { describe, expect, test } from "vitest";
import { BlockManager } from "../../kvcache/block-manager.ts";
import type { SchedulerOutput } from "../../scheduler/output.ts";
import { Scheduler } from "../../scheduler/scheduler.ts";

const NUM_BLOCKS = 9;
const LIMITS = { numLookaheadNodes: 2, maxDraftDepth: 2 };

/** Three sequences of one block each, in a step that is in flight. */
function begun() {
  const blocks = new BlockManager(NUM_BLOCKS, Uint8Array.of(1));
  const scheduler = new Scheduler({
    blockManager: blocks,
    maxNumSeqs: 4,
    tokenBudget: 64,
    maxModelLen: 64,
    maxTreeNodes: 3,
  });
  const add = (id: string, maxTokens = 30) =>
    scheduler.add({ id, promptTokenIds: [id.charCodeAt(0), 2, 3], maxTokens, stopTokenIds: [] });
  for (const id of ["a", "b", "c"]) add(id);
  const plan = scheduler.schedule(() => LIMITS);
  const heldBy = (id: string) => (blocks.has(id) ? [...blocks.blockTable(id)] : []);
  const commit = (output: SchedulerOutput) =>
    scheduler.commit(
      output,
      output.sequences.map(({ sequence: { id } }) => ({ id, tokenIds: [7], numAccepted: 0 })),
    );
  return { blocks, scheduler, add, plan, heldBy, commit };
}

describe("blocks that a step in flight may write", () => {
  test("of a sequence that is aborted stay its own until the step ends, and go to no newcomer", () => {
    const { blocks, scheduler, add, plan, heldBy, commit } = begun();
    const held = heldBy("b");
    expect(held).toHaveLength(1);
    const numFree = blocks.numFreeBlocks;
    scheduler.abort("b");
    add("d");
    expect([heldBy("b"), blocks.numFreeBlocks]).toEqual([held, numFree]);
    scheduler.checkIntegrity();
    commit(plan);
    expect([heldBy("b"), blocks.numFreeBlocks]).toEqual([[], numFree + 1]);
    scheduler.schedule(() => LIMITS);
    expect(heldBy("d")).toHaveLength(1);
    scheduler.checkIntegrity();
  });

  test("of one that a step ends stay its own while steps that were planned ahead are in flight", () => {
    const { blocks, scheduler, plan, heldBy, commit } = begun();
    const ahead = scheduler.scheduleAhead(() => LIMITS) ?? expect.fail();
    scheduler.abort("a");
    commit(plan);
    expect(heldBy("a")).toHaveLength(1);
    scheduler.checkIntegrity();
    const numFree = blocks.numFreeBlocks;
    commit(ahead);
    expect([heldBy("a"), blocks.numFreeBlocks]).toEqual([[], numFree + 1]);
  });

  test("are given back when the step fails, with all that build on it", () => {
    const { blocks, scheduler, plan, heldBy } = begun();
    scheduler.scheduleAhead(() => LIMITS);
    scheduler.abort("c");
    expect(heldBy("c")).toHaveLength(1);
    scheduler.discard(plan);
    expect(heldBy("c")).toEqual([]);
    expect(blocks.numFreeBlocks).toBe(NUM_BLOCKS - 1 - 2);
    scheduler.checkIntegrity();
  });

  test("that are ended in error are not found by others, then or later", () => {
    const { blocks, scheduler, plan, commit } = begun();
    const prompt = Array.from({ length: 20 }, (_, i) => i);
    commit(plan);
    const request = { promptTokenIds: prompt, maxTokens: 9, stopTokenIds: [] };
    scheduler.add({ ...request, id: "broken" });
    const step = scheduler.schedule(() => LIMITS);
    scheduler.fail("broken");
    commit(step);
    expect(blocks.has("broken")).toBe(false);
    const again = scheduler.add({ ...request, id: "again" });
    commit(scheduler.schedule(() => LIMITS));
    expect(again.numCachedTokens).toBe(0);
  });
});
