import type { Binding } from "../kernel.ts";
import { type Op, type OpContext, type PassSize, threadsOp } from "../op.ts";
import { threadsOfRow } from "./add-rms-norm.ts";
import { type Activation, activationWriter, type Product, productReader } from "./product.ts";
import { storageEnables } from "./storage.ts";

const WORKGROUP_SIZE = 64;
/** Largest magnitude that a feature may have in storage. */
const LARGEST = { f16: 65504, f32: 3.4e38 } as const;

/** Features of every slot of a paged cache, storage type [numSlots, stride], or a part of each slot's. All sizes are multiples of 4. */
export interface FeatureStore {
  readonly buffer: GPUBuffer;
  /** Values of a slot. */
  readonly stride: number;
  /** First of the slot's values that is meant. */
  readonly offset: number;
  /** How many are meant. */
  readonly size: number;
}

/** The store of a buffer [numSlots, size]. */
export function featureStore(buffer: GPUBuffer, size: number): FeatureStore {
  return { buffer, stride: size, offset: 0, size };
}

export interface KeepFeaturesArgs {
  readonly hiddenSize: number;
  /** f32 [numRows, hiddenSize], the residual stream; only read. */
  readonly hidden: GPUBuffer;
  /** What is yet to be added to it. */
  readonly product: Product;
  /** u32 [numRows] */
  readonly slots: Binding;
  /** Its size is hiddenSize. */
  readonly features: FeatureStore;
  /** Norm them first. */
  readonly norm?: { readonly gain: Binding; readonly epsilon: number };
}

/** features[slots[row]] = hidden[row] + product[row], normed or not; the residual stream stays as it is (wgsl/feature_*.wgsl). */
export function keepFeatures(context: OpContext, args: KeepFeaturesArgs): Promise<Op> {
  const { hiddenSize, hidden, product, slots, features, norm } = args;
  const { family, kernels } = context;
  const reader = productReader(product);
  const columns = hiddenSize / 4;
  const common = {
    ...{ kv_t: family.storage, HIDDEN_SIZE: hiddenSize, COLUMNS: columns, LARGEST: LARGEST[family.storage] },
    ...{ ...strideOf(features), ...reader.constants },
  };
  const spec = (shader: readonly string[], constants: Readonly<Record<string, number>>) => ({
    shader: [...reader.shader, "feature_write", ...shader],
    constants: { ...common, ...constants },
    enables: storageEnables(family),
    numImmediates: 1,
  });
  const bindings = [hidden, product.buffer, slots, features.buffer];
  if (norm === undefined) {
    const copy = spec(["feature_copy"], { WORKGROUP_SIZE });
    return threadsOp(context, copy, bindings, WORKGROUP_SIZE, ({ numRows }) => numRows * columns);
  }
  const portable = family.name === "portable";
  const workgroupSize = portable ? 4 : threadsOfRow(hiddenSize, kernels);
  return threadsOp(
    context,
    spec(portable ? ["feature_norm"] : ["group_sum", "feature_norm_group"], {
      WORKGROUP_SIZE: workgroupSize,
      EPSILON: norm.epsilon,
    }),
    [...bindings, norm.gain],
    portable ? workgroupSize : 1,
    ({ numRows }) => numRows,
  );
}

/** Moves slots' features as `commitKv` moves their K and V; `moves` u32 [numLists, listLen, 2]. */
export async function commitFeatures(context: OpContext, moves: Binding, { buffer, stride }: FeatureStore) {
  const kernel = await context.kernels.bind(
    {
      shader: ["commit_features"],
      constants: { kv_t: context.family.storage, STRIDE: stride / 4, WORKGROUP_SIZE },
      enables: storageEnables(context.family),
      numImmediates: 1,
    },
    [moves, buffer],
  );
  const words = new Uint32Array(1);
  return (pass: GPUComputePassEncoder, numLists: number, listLen: number): void => {
    if (listLen === 0) return;
    words[0] = listLen;
    kernel.dispatch(pass, [Math.ceil(stride / 4 / WORKGROUP_SIZE), numLists, 1], words);
  };
}

export interface GatherFeaturesArgs {
  readonly features: FeatureStore;
  readonly slots: Binding;
  /** u32 [count], indices of `slots` */
  readonly rows: Binding;
  readonly out: Activation;
}

/** out[i] = features[slots[rows[i]]] of `count(size)` rows (wgsl/feature_gather.wgsl). */
export function gatherFeatures(
  context: OpContext,
  { features, slots, rows, out }: GatherFeaturesArgs,
  count: (size: PassSize) => number,
): Promise<Op> {
  const writer = activationWriter(context.family, out);
  const columns = features.size / 4;
  return threadsOp(
    context,
    {
      shader: [...writer.shader, "feature_gather"],
      constants: {
        ...{ ...writer.constants, ...strideOf(features), kv_t: context.family.storage },
        ...{ COLUMNS: columns, WORKGROUP_SIZE },
      },
      enables: enablesOf(context),
      numImmediates: 1,
    },
    [features.buffer, slots, rows, out.buffer],
    WORKGROUP_SIZE,
    (size) => count(size) * columns,
    (size) => [count(size)],
  );
}

/** Where a slot's features begin, in vectors of four: constants of the kernels that read or write one store. */
export function strideOf({ stride, offset }: FeatureStore) {
  return { STRIDE: stride / 4, OFFSET: offset / 4 };
}

/** f16 where features or activations are. */
export function enablesOf({ family }: OpContext): readonly "f16"[] {
  return family.storage === "f16" || family.name === "matrix" ? ["f16"] : [];
}
