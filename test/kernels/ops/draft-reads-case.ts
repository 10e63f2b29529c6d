import { expect } from "vitest";
import { slotAt } from "../../../engine/runner/batch.ts";
import { type GpuContext, OWN_FEATURE, type TargetReads } from "../../../kernels/index.ts";
import { readU32 } from "../../support/gpu.ts";
import type { Random } from "../../support/random.ts";
import { TABLE_WORDS } from "./lane-case.ts";

/** What rows read of a target whose tables have nothing to do with the drafter's own. */
export class Target {
  readonly reads: TargetReads;
  readonly #gpu: GpuContext;
  readonly #tables: readonly (readonly number[])[];
  readonly #buffer: GPUBuffer;

  constructor(gpu: GpuContext, kind: TargetReads["kind"], random: Random, numLanes: number, numRows: number) {
    this.#gpu = gpu;
    this.#tables = Array.from({ length: numLanes }, () =>
      Array.from({ length: TABLE_WORDS }, () => random.int(1, 200)),
    );
    const tableWords = TABLE_WORDS;
    const tables = gpu.pool.upload(Uint32Array.from(this.#tables.flat()), "tables");
    this.#buffer = gpu.pool.upload(new Uint32Array(4 * numRows).fill(0xdeadbeef), "reads");
    if (kind === "text") this.reads = { kind };
    else if (kind === "features") this.reads = { kind, sources: this.#buffer, tables, tableWords };
    else this.reads = { kind, rowInfo: this.#buffer, tableWords };
  }

  /** Compares with what the rows are to read. */
  async expect(rows: readonly (ExpectedRead | undefined)[]): Promise<void> {
    if (this.reads.kind === "text") return;
    const words = await readU32(this.#gpu, this.#buffer, 4 * rows.length);
    for (const [row, read] of rows.entries()) {
      if (read === undefined) continue;
      const { lane, numTokens, position, parentSlot } = read;
      if (this.reads.kind === "keys") {
        const numKeys = numTokens === undefined ? 1 : numTokens - 1;
        expect([...words.subarray(4 * row, 4 * row + 4)]).toEqual([lane * TABLE_WORDS, numKeys - 1, numKeys, 0]);
      } else if (parentSlot !== undefined) {
        expect(words[row]).toBe((parentSlot | OWN_FEATURE) >>> 0);
      } else {
        expect(words[row]).toBe(position === undefined ? 0 : slotAt(this.#tables[lane] ?? [], position));
      }
    }
  }
}

/** An idle row has its lane alone, a known token its position, a node its parent's slot. */
export interface ExpectedRead {
  readonly lane: number;
  readonly numTokens?: number;
  readonly position?: number;
  readonly parentSlot?: number;
}
