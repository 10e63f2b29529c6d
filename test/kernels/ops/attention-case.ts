import {
  attention,
  attentionSplits,
  type GpuContext,
  type HeadShape,
  kvTypeOf,
  type Op,
  packRows,
  ROW_INFO_WORDS,
} from "../../../kernels/index.ts";
import { attentionCore } from "../../../kernels/ops/attention-core.ts";
import type { AttentionBuffers, AttentionKernel } from "../../../kernels/ops/attention-types.ts";
import type { Activation } from "../../../kernels/ops/product.ts";
import { attentionReference, slotsOfRow } from "../../../kernels/reference/attention.ts";
import { packKv } from "../../../kernels/reference/kv-q8.ts";
import { uniformHalves } from "../../support/arrays.ts";
import { call, submit } from "../../support/gpu.ts";
import { cutHeads } from "../../support/kv-shards.ts";
import { emptyActivation, readActivation } from "../../support/products.ts";
import type { Random } from "../../support/random.ts";

/** Keys and values by slot [numSlots, numKvHeads, headDim], f32 that halves hold too. */
export interface Cache {
  readonly keys: Float32Array<ArrayBuffer>;
  readonly values: Float32Array<ArrayBuffer>;
}

/** One row: its query f32 [numHeads, headDim] that halves hold too, and where it finds its keys. */
export interface AttentionRow {
  readonly query: Float32Array;
  readonly blockTable: readonly number[];
  readonly position: number;
  readonly linearLen: number;
  /** Tree keys of positions linearLen … position, ascending: key t lies at index linearLen + t of the table. */
  readonly path: readonly number[];
}

export function randomCache(random: Random, heads: HeadShape, numSlots: number): Cache {
  const size = numSlots * heads.numKvHeads * heads.headDim;
  return { keys: uniformHalves(random, size, 2), values: uniformHalves(random, size) };
}

/** A row over `blockTable`'s slots whose last `numPath` positions come as a path instead: a chain, one node a position. */
export function rowOver(
  random: Random,
  heads: HeadShape,
  blockTable: readonly number[],
  position: number,
  numPath: number,
): AttentionRow {
  const linearLen = position + 1 - numPath;
  const path = Array.from({ length: numPath }, (_, i) => i);
  return { query: uniformHalves(random, heads.numHeads * heads.headDim, 2), blockTable, position, linearLen, path };
}

export function slotAt(blockTable: readonly number[], blockSize: number, position: number): number {
  return (blockTable[Math.floor(position / blockSize)] ?? 0) * blockSize + (position % blockSize);
}

export interface AttendOptions {
  /** By default the family's. */
  readonly kernel?: AttentionKernel;
  /** Of the heads. */
  readonly numShards?: number;
  /** Rows that scratch has room for; by default all. */
  readonly scratchRows?: number;
}

/** Output f32 [numHeads · headDim] of each row, all rows in one call. */
export async function attend(
  gpu: GpuContext,
  heads: HeadShape,
  blockSize: number,
  cache: Cache,
  rows: readonly AttentionRow[],
  { kernel, numShards = 1, scratchRows = rows.length }: AttendOptions = {},
): Promise<Float32Array[]> {
  const { numHeads, numKvHeads, headDim } = heads;
  const { info, tables } = packRowInfo(rows);
  const q = new Float32Array(rows.length * numHeads * headDim);
  rows.forEach(({ query }, row) => {
    q.set(query, row * numHeads * headDim);
  });
  const numSplits = attentionSplits(gpu, headDim, Math.max(...rows.map(({ position }) => position)));
  const numPartials = Math.min(scratchRows, rows.length) * numHeads * numSplits;
  const poison = new Float32Array(numPartials * headDim).fill(Number.NaN);
  const rowSize = numHeads * headDim;
  const out = emptyActivation(gpu, rows.length, rowSize);
  const upload = (values: Float32Array, label: string) =>
    cutHeads(values, { numKvHeads, headSize: headDim, numShards }).map((part) =>
      gpu.pool.upload(kvTypeOf(gpu.family) === "q8" ? packKv(part, headDim) : packRows(gpu.family, part), label),
    );
  const [keys, values] = [upload(cache.keys, "kCache"), upload(cache.values, "vCache")];
  const shards = keys.map((kCache, i) => ({ kCache, vCache: values[i] ?? kCache }));
  const buffers = {
    q: gpu.pool.upload(q, "q"),
    rowInfo: gpu.pool.upload(info, "rowInfo"),
    tables: gpu.pool.upload(tables, "tables"),
    partial: gpu.pool.upload(poison, "partial"),
    stats: gpu.pool.upload(poison.subarray(0, 2 * numPartials), "stats"),
  };
  const op = await (kernel === undefined
    ? attention(gpu, heads, { ...buffers, shards, blockSize, out })
    : attentionBy(gpu, kernel, heads, blockSize, out, { ...buffers, shards }));
  await submit(gpu, [call(op, { numRows: rows.length, numSplits })]);
  const all = await readActivation(gpu, out, rows.length);
  for (const buffer of [...Object.values(buffers), ...keys, ...values, out.buffer]) gpu.pool.destroy(buffer);
  return rows.map((_, row) => all.slice(row * rowSize, (row + 1) * rowSize));
}

/** As `attention`, with a kernel of the test's choice. */
function attentionBy(
  gpu: GpuContext,
  kernel: AttentionKernel,
  heads: HeadShape,
  pageSize: number,
  { buffer: out, maxRows: activationRows }: Activation,
  buffers: Omit<AttentionBuffers, "out">,
): Promise<Op> {
  const { splitSize, storage: kvType } = gpu.family;
  return attentionCore(
    gpu,
    kernel,
    {
      ...{ ...heads, ioType: "f32", kvType, activationRows },
      ...{ infoHeads: 1, hasBias: false, treeBuffers: false },
    },
    { rowsPerBatch: 1, pageSize, splitSize, scale: heads.headDim ** -0.5 },
    { ...buffers, out },
  );
}

/** The same in f64, row by row, head by head. */
export function attendReference(
  heads: HeadShape,
  blockSize: number,
  { keys, values }: Cache,
  rows: readonly AttentionRow[],
): Float64Array[] {
  const { numHeads, numKvHeads, headDim } = heads;
  const { info, tables } = packRowInfo(rows);
  return rows.map(({ query }, row) => {
    const [table = 0, position = 0, linearLen = 0, path = 0] = info.subarray(row * ROW_INFO_WORDS);
    const slots = slotsOfRow([table, position, linearLen, path], tables, blockSize);
    const out = new Float64Array(numHeads * headDim);
    for (let head = 0; head < numHeads; head++) {
      const kvHead = Math.floor((head * numKvHeads) / numHeads);
      const pick = (from: Float32Array) =>
        slots.map((slot) => from.subarray((slot * numKvHeads + kvHead) * headDim).subarray(0, headDim));
      const q = query.subarray(head * headDim, (head + 1) * headDim);
      out.set(attentionReference(q, pick(keys), pick(values)), head * headDim);
    }
    return out;
  });
}

/** Row info u32 [numRows, 4] and the tables it points into; rows of one block table share it. */
function packRowInfo(rows: readonly AttentionRow[]) {
  const words: number[] = [];
  const offsets = new Map<readonly number[], number>();
  const place = (list: readonly number[]) => {
    const at = offsets.get(list) ?? words.length;
    if (!offsets.has(list)) words.push(...list);
    offsets.set(list, at);
    return at;
  };
  const info = rows.flatMap(({ blockTable, position, linearLen, path }) => [
    place(blockTable),
    position,
    linearLen,
    place(path),
  ]);
  return { info: Uint32Array.from(info), tables: Uint32Array.from([...words, 0]) };
}
