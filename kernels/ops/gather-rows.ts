import type { Binding } from "../kernel.ts";
import { type Op, type OpContext, type PassSize, threadsOp } from "../op.ts";

const WORKGROUP_SIZE = 64;

export interface RowTable {
  /** Words of a row, u32 or f32. */
  readonly width: number;
  /** [any, width] */
  readonly from: Binding;
  /** [count, width] */
  readonly out: Binding;
}

export interface GatherRowsArgs {
  /** u32 [count], indices of rows of both tables */
  readonly rows: Binding;
  readonly tables: readonly [RowTable, RowTable];
}

/** out[i] = from[rows[i]] of `count(size)` rows, for two tables at once (wgsl/gather_rows.wgsl). */
export function gatherRows(
  context: OpContext,
  { rows, tables: [a, b] }: GatherRowsArgs,
  count: (size: PassSize) => number,
): Promise<Op> {
  return threadsOp(
    context,
    {
      shader: ["gather_rows"],
      constants: { WIDTH_A: a.width, WIDTH_B: b.width, WORKGROUP_SIZE },
      numImmediates: 1,
    },
    [rows, a.from, b.from, a.out, b.out],
    WORKGROUP_SIZE,
    (size) => count(size) * (a.width + b.width),
    (size) => [count(size)],
  );
}
