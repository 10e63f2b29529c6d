import { type FlashDecodingArgs, fromHalf, type Tensor, toHalf } from "../../../kernels/index.ts";
import { type FlashDecodingCase, flashDecodingReference } from "../../../kernels/reference/flash-decoding-attention.ts";
import { expectClose, uniformHalves } from "../../support/arrays.ts";
import type { Random } from "../../support/random.ts";

/** What is compiled into kernels; a test of many shapes picks from few of these. */
export interface Kind {
  readonly numKvHeads: number;
  readonly kvGroupNum: number;
  readonly headDim: number;
  readonly dtype: "f32" | "f16";
  readonly mask: "bool" | "f32" | "f16";
  readonly maskPerHead: boolean;
}

/** Sizes that are free in every call. */
export interface Sizes {
  readonly bsz: number;
  readonly qLen: number;
  readonly kvSeqLen: readonly number[];
  /** With pages of this many keys; otherwise contiguous. */
  readonly pageSize?: number;
  /** 1 or bsz masks; without it one of [qLen, qLen] where the kind allows. */
  readonly maskBatches?: number;
  readonly options?: Pick<FlashDecodingArgs, "blockSize" | "smScale" | "maxSeqLenInBatch">;
}

export interface Call {
  readonly args: FlashDecodingArgs;
  readonly expected: Float64Array;
  readonly tolerance: { readonly absolute: number };
}

/** Random tensors of these sizes, and what the operator must give for them. */
export function randomCall(random: Random, kind: Kind, sizes: Sizes): Call {
  const { numKvHeads, kvGroupNum, headDim, dtype } = kind;
  const { bsz, qLen, kvSeqLen } = sizes;
  const numHeads = numKvHeads * kvGroupNum;
  const cache = randomPages(random, sizes);
  const values = (count: number, scale = 1) => uniformHalves(random, count * headDim, scale);
  const numCached = cache.numPages * numKvHeads * cache.pageSize;
  const mask = randomMask(random, kind, sizes);
  const scale = sizes.options?.smScale ?? 1 / Math.sqrt(headDim);
  const plain: FlashDecodingCase = {
    ...{ bsz, numHeads, numKvHeads, qLen, headDim, kvSeqLen, scale, pageSize: cache.pageSize, pages: cache.pages },
    q: values(bsz * numHeads * qLen, 2),
    kCache: values(numCached, 2),
    vCache: values(numCached),
    currentK: values(bsz * numKvHeads * qLen, 2),
    currentV: values(bsz * numKvHeads * qLen),
    bias: mask.bias,
  };
  const tensor = (data: Float32Array<ArrayBuffer>, shape: number[]): Tensor => ({
    data: dtype === "f16" ? toHalf(data) : data,
    shape,
  });
  const cacheShape = [cache.numPages, numKvHeads, cache.pageSize, headDim];
  const args: FlashDecodingArgs = {
    q: tensor(asF32(plain.q), [bsz, numHeads, qLen, headDim]),
    kCache: tensor(asF32(plain.kCache), cacheShape),
    vCache: tensor(asF32(plain.vCache), cacheShape),
    currentK: tensor(asF32(plain.currentK), [bsz, numKvHeads, qLen, headDim]),
    currentV: tensor(asF32(plain.currentV), [bsz, numKvHeads, qLen, headDim]),
    mask: mask.tensor,
    kvSeqLen: { data: Int32Array.from(kvSeqLen), shape: [bsz] },
    kvGroupNum,
    ...(cache.blockTable ? { blockTable: cache.blockTable } : {}),
    ...sizes.options,
  };
  // Scores err as in attention.test.ts (there with 1 / √headDim), biases are below 4; results in halves err by 2⁻¹² more.
  const scores = 4 * Math.abs(scale) * headDim * (headDim / 4 + 4) * 2 ** -24 + 2 ** -21;
  const absolute = 2 * scores + (kvSeqLen.reduce((a, b) => Math.max(a, b), 0) + qLen) * 2 ** -24;
  return {
    args,
    expected: flashDecodingReference(plain),
    tolerance: { absolute: absolute + (dtype === "f16" ? 2 ** -11 : 0) },
  };
}

export function expectResult(result: Tensor, { args, expected, tolerance }: Call, what: string): void {
  const { data } = result;
  const values = data instanceof Uint16Array ? fromHalf(data) : (data as Float32Array);
  expectClose(values, expected, tolerance, `${what}, q [${args.q.shape.join(", ")}]`);
}

/** A copy, since the types of subarrays do not say what they view. */
function asF32(values: Float32Array): Float32Array<ArrayBuffer> {
  return new Float32Array(values);
}

function randomPages(random: Random, { bsz, kvSeqLen, pageSize }: Sizes) {
  const longest = Math.max(0, ...kvSeqLen);
  if (pageSize === undefined) {
    const maxLen = longest + random.int(0, 3);
    return {
      pageSize: maxLen,
      numPages: bsz,
      pages: Array.from({ length: bsz }, (_, b) => [b]),
      blockTable: undefined,
    };
  }
  const maxPages = Math.ceil(longest / pageSize) + random.int(0, 1);
  const numPages = bsz * maxPages + random.int(0, 2);
  const ids = random.shuffle(Array.from({ length: numPages }, (_, i) => i));
  const pages = Array.from({ length: bsz }, (_, b) => ids.slice(b * maxPages, (b + 1) * maxPages));
  return { pageSize, numPages, pages, blockTable: { data: Int32Array.from(pages.flat()), shape: [bsz, maxPages] } };
}

/** Any mask, not only trees': about a third of the keys is kept, and some rows keep none. */
function randomMask(random: Random, { mask, maskPerHead, numKvHeads, kvGroupNum }: Kind, { qLen, maskBatches }: Sizes) {
  const batches = maskBatches ?? 1;
  const heads = maskPerHead ? numKvHeads * kvGroupNum : 1;
  const emptyRows = new Set(random.next() < 0.3 ? [random.int(0, qLen - 1)] : []);
  const elements = Float32Array.from({ length: batches * heads * qLen * qLen }, (_, i) => {
    const kept = random.next() < 0.4 && !emptyRows.has(Math.floor(i / qLen) % qLen);
    return kept ? Math.round(random.int(-64, 64)) / 16 : Number.NEGATIVE_INFINITY;
  });
  const at = (batch: number, head: number, query: number, key: number) =>
    elements[(((batch % batches) * heads + (head % heads)) * qLen + query) * qLen + key] ?? Number.NaN;
  const shape = maskBatches === undefined && !maskPerHead ? [qLen, qLen] : [batches, heads, qLen, qLen];
  if (mask !== "bool") return { bias: at, tensor: { data: mask === "f16" ? toHalf(elements) : elements, shape } };
  const attends = Uint8Array.from(elements, (bias) => (bias === Number.NEGATIVE_INFINITY ? 0 : random.int(1, 255)));
  const bias = (...index: Parameters<typeof at>) =>
    at(...index) === Number.NEGATIVE_INFINITY ? Number.NEGATIVE_INFINITY : 0;
  return { bias, tensor: { data: attends, shape } };
}
