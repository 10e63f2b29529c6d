import { fromHalf, type GpuContext, type HeadShape, toHalf } from "../kernels/index.ts";
import { attentionReference } from "../kernels/reference/attention.ts";

/** Tree attention of `batch` sequences, each with `context` cached keys and a tree of `rows` nodes. */
export interface AttentionShape {
  readonly batch: number;
  readonly rows: number;
  readonly context: number;
}

/** 8,191 vectors of 128, a prime number: no two heads read the same ones, whatever their size. */
const BLOCK = 8191 * 128;
/** Rows × heads of a shape that are checked against the reference. */
const NUM_CHECKED = 24;

/**
 * Queries, caches and trees of the attention benchmark, f16. All tensors repeat one block of random halves (each from a place of
 * its own), so that gigabytes need neither time nor memory on the host, and any element is known there.
 */
export class AttentionData {
  readonly buffers: {
    readonly q: GPUBuffer;
    readonly kCache: GPUBuffer;
    readonly vCache: GPUBuffer;
    readonly tree: { readonly k: GPUBuffer; readonly v: GPUBuffer };
  };
  readonly heads: HeadShape;
  readonly #gpu: GpuContext;
  readonly #values: Float32Array;
  #checked: { readonly shape: AttentionShape; readonly rows: readonly CheckedRow[] } | undefined;

  constructor(gpu: GpuContext, shapes: readonly AttentionShape[], heads: HeadShape) {
    const halves = toHalf(noise(BLOCK));
    const most = (size: (shape: AttentionShape) => number) => Math.max(...shapes.map(size)) * heads.headDim;
    const filled = (count: number, label: string, from: number) => {
      const buffer = gpu.pool.storage(2 * count, label);
      for (let at = -from; at < count; at += BLOCK) {
        const [first, last] = [Math.max(at, 0), Math.min(at + BLOCK, count)];
        gpu.device.queue.writeBuffer(buffer, 2 * first, halves, first - at, last - first);
      }
      return buffer;
    };
    const numCached = most(({ batch, context }) => batch * context * heads.numKvHeads);
    const numTree = most(({ batch, rows }) => batch * rows * heads.numKvHeads);
    const numQueries = most(({ batch, rows }) => batch * rows * heads.numHeads);
    this.#gpu = gpu;
    this.#values = fromHalf(halves);
    this.heads = heads;
    this.buffers = {
      q: filled(numQueries, "q", FROM.q),
      kCache: filled(numCached, "kCache", FROM.kCache),
      vCache: filled(numCached, "vCache", FROM.vCache),
      tree: { k: filled(numTree, "kTree", FROM.kTree), v: filled(numTree, "vTree", FROM.vTree) },
    };
  }

  /** Key lists of a shape: one page a sequence, and for each node its path in a binary tree (node i hangs on ⌊(i − 1) / 2⌋). */
  lists({ batch, rows, context }: AttentionShape) {
    const tables = Array.from({ length: batch }, (_, b) => b);
    const paths = Array.from({ length: rows }, (_, node) => pathOf(node));
    const offsets = paths.map((path) => tables.push(...path) - path.length);
    const rowInfo = tables
      .slice(0, batch)
      .flatMap((b) => paths.flatMap((path, node) => [b, context + path.length - 1, context, offsets[node] ?? 0]));
    const longest = context + Math.max(...paths.map(({ length }) => length));
    return { longest, rowInfo: Uint32Array.from(rowInfo), tables: Uint32Array.from(tables) };
  }

  /** Largest difference from the f64 reference over some rows and heads of `out` f16 [batch, numHeads, rows, headDim]. */
  async maxError(shape: AttentionShape, out: GPUBuffer): Promise<number> {
    const { batch, rows } = shape;
    const count = batch * this.heads.numHeads * rows;
    const actual = new Uint16Array(await this.#gpu.pool.read(out, 0, 2 * count * this.heads.headDim));
    if (this.#checked?.shape !== shape) this.#checked = { shape, rows: this.#reference(shape) };
    let worst = 0;
    for (const { item, expected } of this.#checked.rows) {
      const got = fromHalf(actual.subarray(item * this.heads.headDim, (item + 1) * this.heads.headDim));
      for (const [d, value] of expected.entries()) {
        const error = Math.abs(value - (got[d] ?? Number.NaN));
        worst = Number.isNaN(error) ? Number.POSITIVE_INFINITY : Math.max(worst, error);
      }
    }
    return worst;
  }

  #reference({ batch, rows, context }: AttentionShape): CheckedRow[] {
    const count = batch * this.heads.numHeads * rows;
    return Array.from({ length: NUM_CHECKED }, (_, i) => {
      const item = Math.floor(((i + 0.5) * count) / NUM_CHECKED + i) % count;
      const head = Math.floor(item / rows);
      const kvHead = Math.floor((head * this.heads.numKvHeads) / this.heads.numHeads);
      const path = pathOf(item % rows);
      const keys = (from: number, treeFrom: number) => [
        ...Array.from({ length: context }, (_, position) => this.#vector(from, kvHead * context + position)),
        ...path.map((node) => this.#vector(treeFrom, kvHead * rows + node)),
      ];
      const query = this.#vector(FROM.q, item);
      return {
        item,
        expected: attentionReference(query, keys(FROM.kCache, FROM.kTree), keys(FROM.vCache, FROM.vTree)),
      };
    });
  }

  /** Vector `index` of a tensor of vectors of headDim. */
  #vector(from: number, index: number): Float32Array {
    const at = (from + index * this.heads.headDim) % BLOCK;
    return this.#values.subarray(at, at + this.heads.headDim);
  }
}

/** One (sequence, head, row) of the result: its place in [batch, numHeads, rows], and f64 [headDim]. */
interface CheckedRow {
  readonly item: number;
  readonly expected: Float64Array;
}

/** Where each tensor's first element lies in the block; multiples of headDim, so that no vector is torn. */
const FROM = { q: 0, kCache: 2 ** 17, vCache: 3 * 2 ** 17, kTree: 5 * 2 ** 17, vTree: 6 * 2 ** 17 };

/** A node's ancestors from the root, itself last. */
function pathOf(node: number): number[] {
  return node === 0 ? [0] : [...pathOf(Math.floor((node - 1) / 2)), node];
}

/** Deterministic values in [−1, 1). */
function noise(count: number): Float32Array<ArrayBuffer> {
  let state = 1;
  return Float32Array.from({ length: count }, () => {
    state = (Math.imul(state, 1664525) + 1013904223) >>> 0;
    return state / 2 ** 31 - 1;
  });
}
