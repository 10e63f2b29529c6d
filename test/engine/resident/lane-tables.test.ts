import { describe, expect, it, vi } from "vitest";
import { LaneTables } from "../../../engine/resident/lane-tables.ts";
import { FAMILIES, readU32, useGpu } from "../../support/gpu.ts";
import { Random } from "../../support/random.ts";

const test = useGpu();
const FIRST_WORD = 5;

describe("block tables of lanes", () => {
  it.each([
    ["in one piece where they are short", 40, 1],
    ["in a piece each where they are long", 3000, 8],
  ])("are on the device as they are here, and get there %s", async (_, tableWords, mostPieces) => {
    const context = test.context(FAMILIES[0]);
    const { device, pool } = context;
    const random = new Random(tableWords);
    const maxLanes = 8;
    const before = new Uint32Array(FIRST_WORD + maxLanes * tableWords).fill(7777, FIRST_WORD);
    const buffer = pool.upload(before, "tables");
    const tables = new LaneTables(device, { buffer, tables: 4 * FIRST_WORD, tableWords });
    const write = vi.spyOn(device.queue, "writeBuffer");
    for (let run = 0; run < 4; run++) {
      const lanes = Array.from({ length: random.int(1, maxLanes) }, (): number[] => []);
      const grow = (table: number[]) => {
        const most = Math.min(random.int(0, 6), tableWords - table.length);
        for (let i = 0; i < most; i++) table.push(random.int(1, 1000));
      };
      lanes.forEach(grow);
      tables.start(lanes);
      for (let step = 0; step < 5; step++) {
        const numCallsBefore = write.mock.calls.length;
        tables.send();
        const numPieces = write.mock.calls.length - numCallsBefore;
        expect(numPieces).toBeLessThanOrEqual(Math.min(lanes.length, mostPieces));
        const words = await readU32(context, buffer, FIRST_WORD + maxLanes * tableWords);
        for (const [lane, table] of lanes.entries()) {
          const start = FIRST_WORD + lane * tableWords;
          // Rows that idle read the first one.
          const wanted = table.length > 0 ? table : [0];
          expect([...words.subarray(start, start + wanted.length)]).toEqual(wanted);
        }
        expect([...words.subarray(0, FIRST_WORD)]).toEqual(new Array(FIRST_WORD).fill(0));
        for (const table of lanes) if (random.next() < 0.4) grow(table);
      }
    }
    write.mockRestore();
  });

  it("are refused where there is no room for them", () => {
    const { device, pool } = test.context(FAMILIES[0]);
    const tables = new LaneTables(device, { buffer: pool.storage(16, "tables"), tables: 0, tableWords: 2 });
    tables.start([
      [1, 2],
      [1, 2, 3],
    ]);
    expect(() => tables.send()).toThrow("a lane's table has at most 2 blocks");
  });
});
