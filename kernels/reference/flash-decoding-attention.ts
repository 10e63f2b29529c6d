import { attentionReference } from "./attention.ts";

/** Plain numbers in row-major order, shapes as in flash-decoding/arguments.ts. */
export interface FlashDecodingCase {
  readonly bsz: number;
  readonly numHeads: number;
  readonly numKvHeads: number;
  readonly qLen: number;
  readonly headDim: number;
  readonly q: Float32Array;
  readonly kCache: Float32Array;
  readonly vCache: Float32Array;
  readonly currentK: Float32Array;
  readonly currentV: Float32Array;
  /** Positions of a page; the page of each sequence's positions in order. */
  readonly pageSize: number;
  readonly pages: readonly (readonly number[])[];
  readonly kvSeqLen: readonly number[];
  /** What is added to the score of (batch, head, query, key); −∞: not attended to. */
  readonly bias: (batch: number, head: number, query: number, key: number) => number;
  readonly scale: number;
}

/** The operator in f64: [bsz, numHeads, qLen, headDim]. */
export function flashDecodingReference(c: FlashDecodingCase): Float64Array {
  const out = new Float64Array(c.bsz * c.numHeads * c.qLen * c.headDim);
  const vector = (from: Float32Array, index: number) => from.subarray(index * c.headDim, (index + 1) * c.headDim);
  for (let batch = 0; batch < c.bsz; batch++) {
    for (let head = 0; head < c.numHeads; head++) {
      const kvHead = Math.floor((head * c.numKvHeads) / c.numHeads);
      const cached = Array.from({ length: c.kvSeqLen[batch] ?? 0 }, (_, position) => {
        const page = c.pages[batch]?.[Math.floor(position / c.pageSize)] ?? Number.NaN;
        return (page * c.numKvHeads + kvHead) * c.pageSize + (position % c.pageSize);
      });
      for (let query = 0; query < c.qLen; query++) {
        const own = Array.from({ length: c.qLen }, (_, key) => key).filter(
          (key) => c.bias(batch, head, query, key) !== Number.NEGATIVE_INFINITY,
        );
        const current = own.map((key) => (batch * c.numKvHeads + kvHead) * c.qLen + key);
        const row = (batch * c.numHeads + head) * c.qLen + query;
        const values = attentionReference(
          vector(c.q, row),
          [...cached.map((at) => vector(c.kCache, at)), ...current.map((at) => vector(c.currentK, at))],
          [...cached.map((at) => vector(c.vCache, at)), ...current.map((at) => vector(c.currentV, at))],
          c.scale,
          [...cached.map(() => 0), ...own.map((key) => c.bias(batch, head, query, key))],
        );
        out.set(values, row * c.headDim);
      }
    }
  }
  return out;
}
