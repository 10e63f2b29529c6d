import type { Binding } from "../kernel.ts";
import { inTurn, type Op, type OpContext, type PassSize, threadsOp } from "../op.ts";
import { threadsOfRow } from "./add-rms-norm.ts";
import type { CommitKv } from "./commit-kv.ts";
import { columnsOf, type FeaturePart, type FeatureStore, partsOf } from "./feature-store.ts";
import { type Activation, activationWriter, type Product, productReader } from "./product.ts";
import { LARGEST_STORED, storageEnables } from "./storage.ts";

const WORKGROUP_SIZE = 64;

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
  const common = {
    ...{
      kv_t: family.storage,
      HIDDEN_SIZE: hiddenSize,
      COLUMNS: hiddenSize / 4,
      LARGEST: LARGEST_STORED[family.storage],
    },
    ...reader.constants,
  };
  const spec = (part: FeaturePart, shader: readonly string[], constants: Readonly<Record<string, number>>) => ({
    shader: [...reader.shader, "feature_write", ...shader],
    constants: { ...common, ...columnsOf(part), ...constants },
    enables: storageEnables(family),
    numImmediates: 1,
  });
  const bindings = ({ buffer }: FeaturePart) => [hidden, product.buffer, slots, buffer];
  if (norm === undefined) {
    return inTurn(
      partsOf(features).map((part) => {
        const copy = spec(part, ["feature_copy"], { WORKGROUP_SIZE });
        return threadsOp(context, copy, bindings(part), WORKGROUP_SIZE, ({ numRows }) => (numRows * part.size) / 4);
      }),
    );
  }
  const portable = family.name === "portable";
  const workgroupSize = portable ? 4 : threadsOfRow(hiddenSize, kernels);
  const shader = portable ? ["feature_norm"] : ["group_sum", "feature_norm_group"];
  const constants = { WORKGROUP_SIZE: workgroupSize, EPSILON: norm.epsilon };
  return inTurn(
    partsOf(features).map((part) =>
      threadsOp(
        context,
        spec(part, shader, constants),
        [...bindings(part), norm.gain],
        portable ? workgroupSize : 1,
        ({ numRows }) => numRows,
      ),
    ),
  );
}

/** Moves slots' features as `commitKv` moves their K and V, in all buffers of the store; `moves` u32 [numLists, listLen, 2]. */
export async function commitFeatures(
  context: OpContext,
  moves: Binding,
  { sections }: FeatureStore,
): Promise<CommitKv> {
  const kernels = await Promise.all(
    sections.map(({ buffer, width }) =>
      context.kernels.bind(
        {
          shader: ["commit_features"],
          constants: { kv_t: context.family.storage, STRIDE: width / 4, WORKGROUP_SIZE },
          enables: storageEnables(context.family),
          numImmediates: 1,
        },
        [moves, buffer],
      ),
    ),
  );
  const words = new Uint32Array(1);
  return (pass, numLists, listLen) => {
    if (listLen === 0) return;
    words[0] = listLen;
    for (const [i, { width }] of sections.entries()) {
      kernels[i]?.dispatch(pass, [Math.ceil(width / 4 / WORKGROUP_SIZE), numLists, 1], words);
    }
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
  return inTurn(
    partsOf(features).map((part) =>
      threadsOp(
        context,
        {
          shader: [...writer.shader, "feature_gather"],
          constants: { ...writer.constants, ...columnsOf(part), kv_t: context.family.storage, WORKGROUP_SIZE },
          enables: enablesOf(context),
          numImmediates: 1,
        },
        [part.buffer, slots, rows, out.buffer],
        WORKGROUP_SIZE,
        (size) => (count(size) * part.size) / 4,
        (size) => [count(size)],
      ),
    ),
  );
}

/** f16 where features or activations are. */
export function enablesOf({ family }: OpContext): readonly "f16"[] {
  return family.storage === "f16" || family.name === "matrix" ? ["f16"] : [];
}
