import { ArgumentError } from "../errors.ts";
import { type CheckedTensor, checkTensor, type Tensor } from "./tensor.ts";

/** Arguments of `flashDecodingAttention`. All tensors but the mask and the integers are of one type, f32 or f16, and on one side. */
export interface FlashDecodingArgs {
  /** [bsz, numHeads, qLen, headDim]; headDim a multiple of 8, at most 256 */
  readonly q: Tensor;
  /** [bsz, numKvHeads, maxLen, headDim], or with `blockTable` [numPages, numKvHeads, pageSize, headDim] */
  readonly kCache: Tensor;
  readonly vCache: Tensor;
  /** [bsz, numKvHeads, qLen, headDim]: keys and values of the rows of `q` themselves */
  readonly currentK: Tensor;
  readonly currentV: Tensor;
  /**
   * [qLen, qLen], or [1 or bsz, 1 or numHeads, qLen, qLen]: which current keys (last axis) a row attends to. bool: not 0 =
   * attend. f32 or f16: added to the scaled score, −∞ = do not attend. Cached keys are always attended to.
   */
  readonly mask: Tensor;
  /** i32 [bsz]: cached keys of each sequence, its current ones not counted */
  readonly kvSeqLen: Tensor;
  /** Keys of a block, the unit in which the cache is split among threads. Default 64. */
  readonly blockSize?: number;
  /** No kvSeqLen is longer. Default: the longest where kvSeqLen is on the host, else what the cache can hold. */
  readonly maxSeqLenInBatch?: number;
  /** Where the result goes: the shape, type and side of `q`. */
  readonly output?: Tensor;
  /** Scratch f32 [bsz, qLen, numHeads, numBlocks, headDim], numBlocks ≥ ⌈maxSeqLenInBatch / blockSize⌉ + ⌈qLen / blockSize⌉. Not needed on the host. */
  readonly midOutput?: Tensor;
  /** Scratch f32 [bsz, qLen, numHeads, numBlocks, 2]: maximum and sum of exponentials, whose log-sum-exp is max + ln sum */
  readonly midOutputLse?: Tensor;
  /** Factor of q · k. Default 1 / √headDim. */
  readonly smScale?: number;
  /** Query heads of a KV head: numHeads = kvGroupNum · numKvHeads. Default 1. */
  readonly kvGroupNum?: number;
  /** i32 [bsz, maxPages]: pages of each sequence, in order. Then the cache is paged. */
  readonly blockTable?: Tensor;
  /** Keys of a page; by default what the shape of `kCache` says. */
  readonly pageSize?: number;
  /** By default the adapter that `openGpu` prefers, opened once. Tensors on a device need theirs. */
  readonly device?: GPUDevice;
}

/** Arguments that fit one another, with defaults filled in. */
export interface CheckedArgs {
  readonly bsz: number;
  readonly numHeads: number;
  readonly numKvHeads: number;
  readonly qLen: number;
  readonly headDim: number;
  readonly dtype: "f32" | "f16";
  readonly onDevice: boolean;
  readonly pageSize: number;
  readonly numPages: number;
  readonly maskBatches: number;
  readonly maskHeads: number;
  readonly blockSize: number;
  readonly maxSeqLen: number;
  /** Blocks that scratch has room for. */
  readonly numBlocks: number;
  readonly scale: number;
  readonly tensors: {
    readonly [Name in "q" | "kCache" | "vCache" | "currentK" | "currentV" | "mask" | "kvSeqLen"]: CheckedTensor;
  } & {
    readonly [Name in "blockTable" | "output" | "midOutput" | "midOutputLse"]: CheckedTensor | undefined;
  };
}

const FLOATS = ["f32", "f16"] as const;

/** @throws ArgumentError for the first argument that does not fit. */
export function checkArguments(args: FlashDecodingArgs): CheckedArgs {
  const q = checkTensor("q", args.q, FLOATS, shapeOf([undefined, undefined, undefined, undefined], Q_NAMES));
  const [bsz = 0, numHeads = 0, qLen = 0, headDim = 0] = q.shape;
  if (headDim % 8 !== 0 || headDim < 8 || headDim > 256) {
    throw new ArgumentError("q", `headDim ${headDim}`, "a multiple of 8 from 8 to 256");
  }
  const group = wholeNumber("kvGroupNum", args.kvGroupNum ?? 1, 1);
  if (numHeads === 0 || numHeads % group !== 0) {
    throw new ArgumentError("kvGroupNum", `${group}`, `a divisor of numHeads, which is ${numHeads}`);
  }
  const numKvHeads = numHeads / group;
  const like = (name: string, tensor: Tensor, sizes: readonly (number | undefined)[], names: string) => {
    const checked = checkTensor(name, tensor, [q.dtype], shapeOf(sizes, names));
    if (checked.onDevice !== q.onDevice) throw new ArgumentError(name, sideOf(checked), `as q: ${sideOf(q)}`);
    return checked;
  };

  const paged = args.blockTable !== undefined;
  const kCache = like(
    "kCache",
    args.kCache,
    [paged ? undefined : bsz, numKvHeads, undefined, headDim],
    cacheNames(paged),
  );
  const vCache = like("vCache", args.vCache, kCache.shape, cacheNames(paged));
  const currentShape = [bsz, numKvHeads, qLen, headDim];
  const currentK = like("currentK", args.currentK, currentShape, "bsz, numKvHeads, qLen, headDim");
  const currentV = like("currentV", args.currentV, currentShape, "bsz, numKvHeads, qLen, headDim");
  const mask = checkMask(args.mask, bsz, numHeads, qLen);
  const [numPages = 0, , pageSize = 0] = kCache.shape;
  if (args.pageSize !== undefined && args.pageSize !== pageSize) {
    throw new ArgumentError("pageSize", `${args.pageSize}`, `${pageSize}, as the shape of kCache says`);
  }
  const { kvSeqLen, blockTable, maxSeqLen } = checkLengths(args, bsz, numPages, pageSize);

  const blockSize = wholeNumber("blockSize", args.blockSize ?? 64, 1);
  const numBlocks = Math.ceil(maxSeqLen / blockSize) + Math.ceil(qLen / blockSize);
  const scratch = (name: string, tensor: Tensor | undefined, last: number) => {
    if (tensor === undefined) return undefined;
    const names = "bsz, qLen, numHeads, numBlocks, elements";
    const checked = checkTensor(name, tensor, ["f32"], shapeOf([bsz, qLen, numHeads, undefined, last], names));
    const room = checked.shape[3] ?? 0;
    if (room < numBlocks) throw new ArgumentError(name, `room for ${room} blocks`, `at least ${numBlocks}`);
    if (checked.onDevice !== q.onDevice) throw new ArgumentError(name, sideOf(checked), `as q: ${sideOf(q)}`);
    return checked;
  };
  const scale = args.smScale ?? 1 / Math.sqrt(headDim);
  if (!Number.isFinite(scale)) throw new ArgumentError("smScale", `${scale}`, "a finite number");
  return {
    ...{ bsz, numHeads, numKvHeads, qLen, headDim, onDevice: q.onDevice, dtype: q.dtype === "f16" ? "f16" : "f32" },
    ...{ pageSize, numPages, blockSize, maxSeqLen, numBlocks, scale },
    maskBatches: mask.shape.length === 4 ? (mask.shape[0] ?? 1) : 1,
    maskHeads: mask.shape.length === 4 ? (mask.shape[1] ?? 1) : 1,
    tensors: {
      ...{ q, kCache, vCache, currentK, currentV, mask, kvSeqLen, blockTable },
      output: args.output && like("output", args.output, q.shape, Q_NAMES),
      midOutput: scratch("midOutput", args.midOutput, headDim),
      midOutputLse: scratch("midOutputLse", args.midOutputLse, 2),
    },
  };
}

const Q_NAMES = "bsz, numHeads, qLen, headDim";

function cacheNames(paged: boolean): string {
  return paged ? "numPages, numKvHeads, pageSize, headDim" : "bsz, numKvHeads, maxLen, headDim";
}

function shapeOf(sizes: readonly (number | undefined)[], names: string) {
  return { sizes, names };
}

function sideOf({ onDevice }: CheckedTensor): string {
  return onDevice ? "a GPUBuffer" : "a typed array";
}

function wholeNumber(name: string, value: number, least: number): number {
  if (!Number.isInteger(value) || value < least) throw new ArgumentError(name, `${value}`, `an integer from ${least}`);
  return value;
}

function checkMask(mask: Tensor, bsz: number, numHeads: number, qLen: number): CheckedTensor {
  const dtypes = ["bool", "f32", "f16"] as const;
  if (mask?.shape?.length !== 4) return checkTensor("mask", mask, dtypes, shapeOf([qLen, qLen], "qLen, qLen"));
  const [batches, heads] = mask.shape;
  const sizes = [batches === 1 ? 1 : bsz, heads === 1 ? 1 : numHeads, qLen, qLen];
  return checkTensor("mask", mask, dtypes, shapeOf(sizes, "1 or bsz, 1 or numHeads, qLen, qLen"));
}

/** Lengths and pages, where they are on the host, must lie within the cache; on a device the kernels cap them. */
function checkLengths(args: FlashDecodingArgs, bsz: number, numPages: number, pageSize: number) {
  const kvSeqLen = checkTensor("kvSeqLen", args.kvSeqLen, ["i32"], shapeOf([bsz], "bsz"));
  const { blockTable: given } = args;
  const blockTable = given && checkTensor("blockTable", given, ["i32"], shapeOf([bsz, undefined], "bsz, maxPages"));
  const maxPages = blockTable?.shape[1] ?? 1;
  const capacity = numPages === 0 ? 0 : maxPages * pageSize;
  const most = wholeNumber("maxSeqLenInBatch", args.maxSeqLenInBatch ?? capacity, 0);
  if (most > capacity) {
    throw new ArgumentError(
      "maxSeqLenInBatch",
      `${most}`,
      `at most ${capacity}, which the cache can hold of a sequence`,
    );
  }
  if (!(kvSeqLen.data instanceof Int32Array)) return { kvSeqLen, blockTable, maxSeqLen: most };
  const lengths = kvSeqLen.data;
  lengths.forEach((length, batch) => {
    if (length < 0 || length > most) throw new ArgumentError(`kvSeqLen[${batch}]`, `${length}`, `0 to ${most}`);
    const numUsed = Math.ceil(length / Math.max(1, pageSize));
    const pages =
      blockTable?.data instanceof Int32Array
        ? blockTable.data.subarray(batch * maxPages, batch * maxPages + numUsed)
        : [];
    for (const [i, page] of pages.entries()) {
      if (page < 0 || page >= numPages) {
        throw new ArgumentError(`blockTable[${batch}, ${i}]`, `${page}`, `a page from 0 to ${numPages - 1}`);
      }
    }
  });
  const longest = lengths.reduce((max, length) => Math.max(max, length), 0);
  return { kvSeqLen, blockTable, maxSeqLen: args.maxSeqLenInBatch ?? longest };
}
