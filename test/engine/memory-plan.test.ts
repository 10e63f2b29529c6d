import { totalmem } from "node:os";
import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { EngineOptionsError } from "../../engine/errors.ts";
import { checkMemory, memoryCapacity, planKvBlocks } from "../../engine/memory-plan.ts";

const GIB = 2 ** 30;
const MIB = 2 ** 20;
/** No buffer is too large. */
const UNBOUND = { maxBoundBytes: 2 ** 50, boundBlockBytes: [["keys of one head of a layer", 1]] as const };

describe("memory that may be taken", () => {
  it("is a share of what the option says, else of the machine's for a software adapter, else unknown", () => {
    expect(memoryCapacity({ gpuMemory: 80, gpuMemoryUtilization: 0.5 }, false)).toBe(40 * GIB);
    expect(memoryCapacity({ gpuMemory: 2, gpuMemoryUtilization: 1 }, true)).toBe(2 * GIB);
    expect(memoryCapacity({ gpuMemoryUtilization: 0.9 }, false)).toBeUndefined();
    const half = memoryCapacity({ gpuMemoryUtilization: 0.5 }, true) ?? 0;
    expect(half).toBeGreaterThan(0);
    expect(half).toBeLessThanOrEqual(totalmem() / 2);
  });
});

describe("the number of KV blocks", () => {
  const bytes = fc.integer({ min: 1, max: 4 * MIB });
  const ledger = fc.record({
    capacityBytes: fc.option(fc.integer({ min: 0, max: 64 * GIB }), { nil: undefined }),
    weightBytes: fc.integer({ min: 0, max: 16 * GIB }),
    blockBytes: fc
      .tuple(bytes, fc.option(bytes))
      .map(([target, draft]) => [["target", target] as const, ...(draft === null ? [] : [["draft", draft] as const])]),
  });
  const wishes = fc.record(
    {
      numKvBlocks: fc.integer({ min: 2, max: 100_000 }),
      maxNumSeqs: fc.integer({ min: 1, max: 64 }),
      maxSlots: fc.integer({ min: 1, max: 40_000 }),
      takesAll: fc.boolean(),
    },
    { requiredKeys: ["maxNumSeqs", "maxSlots", "takesAll"] },
  );

  it("is what was asked for, else what a full batch needs or memory holds; refused exactly where that does not fit", () => {
    let numRefused = 0;
    fc.assert(
      fc.property(ledger, wishes, (memory, wish) => {
        const perBlock = memory.blockBytes.reduce((sum, [, bytesOfOne]) => sum + bytesOfOne, 0);
        const left = (memory.capacityBytes ?? Number.POSITIVE_INFINITY) - memory.weightBytes;
        const batch = 1 + wish.maxNumSeqs * Math.ceil(wish.maxSlots / 16);
        let numBlocks: number;
        try {
          numBlocks = planKvBlocks({ ...UNBOUND, ...memory }, wish);
        } catch (error) {
          expect(error).toBeInstanceOf(EngineOptionsError);
          expect(left).toBeLessThan((wish.numKvBlocks ?? 2) * perBlock);
          numRefused++;
          return;
        }
        expect(numBlocks * perBlock).toBeLessThanOrEqual(left);
        if (wish.numKvBlocks !== undefined) {
          expect(numBlocks).toBe(wish.numKvBlocks);
          return;
        }
        const most = wish.takesAll ? left : Math.min(left, GIB);
        expect(numBlocks).toBeLessThanOrEqual(batch);
        if (numBlocks < batch) expect((numBlocks + 1) * perBlock).toBeGreaterThan(most);
        if (numBlocks > 2) expect(numBlocks * perBlock).toBeLessThanOrEqual(most);
      }),
    );
    expect(numRefused).toBeGreaterThan(0);
  });

  it("names the numbers where it is refused", () => {
    const memory = {
      ...{ ...UNBOUND, capacityBytes: 2 * GIB, weightBytes: 512 * MIB },
      blockBytes: [["big", 3 * MIB] as const, ["small", MIB] as const],
    };
    const wish = { numKvBlocks: 1000, maxNumSeqs: 8, maxSlots: 100, takesAll: true };
    expect(() => planKvBlocks(memory, wish)).toThrow(
      /^1000 KV blocks need 3\.91 GiB \(big 2\.93 GiB, small 1000\.00 MiB\) beside weights of 512\.00 MiB, but 2\.00 GiB may be used; use fewer/,
    );
  });

  it("is what can be bound as one buffer at most; more is refused with the numbers", () => {
    const memory = {
      ...{
        capacityBytes: undefined,
        weightBytes: 0,
        blockBytes: [["big", 64 * 1024] as const],
        maxBoundBytes: 128 * MIB,
      },
      boundBlockBytes: [
        ["keys of one head of a layer", 32 * 1024] as const,
        ["values of one head of a layer", 64 * 1024] as const,
      ],
    };
    const wish = { maxNumSeqs: 64, maxSlots: 32_768, takesAll: true };
    expect(planKvBlocks(memory, wish)).toBe(2048);
    expect(planKvBlocks(memory, { ...wish, numKvBlocks: 2048 })).toBe(2048);
    expect(() => planKvBlocks(memory, { ...wish, numKvBlocks: 2049 })).toThrow(
      /^2049 KV blocks need 128\.06 MiB for values of one head of a layer, but .* at most 128\.00 MiB .*at most 2048 --kv-blocks/,
    );
  });
});

it("all that was made is refused where it takes more than it may", () => {
  expect(() => checkMemory(GIB, GIB + MIB)).toThrow(/take 1\.00 GiB, but 1\.00 GiB may be used/);
  expect(() => checkMemory(100 * MIB, 101 * MIB)).toThrow(EngineOptionsError);
  checkMemory(GIB, GIB);
  checkMemory(undefined, 2 ** 50);
});
