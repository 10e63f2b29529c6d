import type { Binding } from "../kernel.ts";
import { inTurn, type Op, type OpContext, threadsOp } from "../op.ts";
import { threadsOfRow } from "./add-rms-norm.ts";
import { columnsOf, type FeatureStore, partsOf } from "./feature-store.ts";
import { enablesOf } from "./features.ts";
import { type Activation, activationWriter, type Product, productReader } from "./product.ts";
import { logitsStride } from "./sampling.ts";
import { storageEnables } from "./storage.ts";

const WORKGROUP_SIZE = 64;
/** In `places`: the token is not in the reduced vocabulary. */
export const NO_PLACE = 0xffffffff;

export interface Eagle3LevelsArgs {
  /** u32 [numRows]: a slot of `levels`, or OWN_FEATURE is set in it */
  readonly sources: Binding;
  /** Levels of the target's hidden states, one after the other. */
  readonly levels: FeatureStore;
  /** [numRows, levels.size] */
  readonly out: Activation;
}

/** out[row] = the levels at its source, or zeros (wgsl/eagle3_levels.wgsl). */
export function eagle3Levels(context: OpContext, { sources, levels, out }: Eagle3LevelsArgs): Promise<Op> {
  const writer = activationWriter(context.family, out);
  return inTurn(
    partsOf(levels).map((part) =>
      threadsOp(
        context,
        {
          shader: [...writer.shader, "feature_source", "eagle3_levels"],
          constants: { ...writer.constants, ...columnsOf(part), kv_t: context.family.storage, WORKGROUP_SIZE },
          enables: enablesOf(context),
          numImmediates: 1,
        },
        [sources, part.buffer, out.buffer],
        WORKGROUP_SIZE,
        ({ numRows }) => (numRows * part.size) / 4,
      ),
    ),
  );
}

export interface Eagle3InputArgs {
  /** Storage type [vocabSize, size] */
  readonly table: Binding;
  /** u32 [numRows] */
  readonly tokenIds: Binding;
  /** u32 [numRows]: with OWN_FEATURE a slot of `own`; else the row's feature is its fused levels */
  readonly sources: Binding;
  /** [numRows, size] */
  readonly fused: Product;
  /** A whole store of `size` values a slot. */
  readonly own: FeatureStore;
  /** f32 [2, size]: of the embedding's norm, then the feature's */
  readonly gains: Binding;
  readonly epsilon: number;
  /** f32 [numRows, size], the residual stream: written */
  readonly hidden: GPUBuffer;
  /** [numRows, 2 · size] */
  readonly out: Activation;
}

/**
 * hidden[row] = feature, out[row] = [norm(embedding), norm(feature)] (wgsl/eagle3_input.wgsl). Where `own` lies in several buffers,
 * each gives its part of the rows' features to `hidden` first (wgsl/eagle3_own.wgsl).
 */
export function eagle3Input(context: OpContext, args: Eagle3InputArgs): Promise<Op> {
  const { table, tokenIds, sources, fused, own, gains, epsilon, hidden, out } = args;
  const { family, kernels } = context;
  const portable = family.name === "portable";
  const workgroupSize = portable ? 4 : threadsOfRow(own.size, kernels);
  const reader = productReader(fused);
  const writer = activationWriter(family, out);
  const parts = partsOf(own);
  const [first] = parts;
  if (first === undefined) throw new Error("invariant: an EAGLE-3 drafter's features have no values");
  const isCut = parts.length > 1;
  const input = threadsOp(
    context,
    {
      shader: [
        ...[...reader.shader, ...writer.shader, "feature_source", "eagle3_halves"],
        ...(portable ? ["eagle3_input"] : ["group_sum", "eagle3_input_group"]),
      ],
      constants: {
        ...{ ...reader.constants, ...writer.constants, kv_t: family.storage, EPSILON: epsilon },
        ...{
          HIDDEN_SIZE: own.size,
          COLUMNS: own.size / 4,
          OWN_IN_HIDDEN: isCut ? 1 : 0,
          WORKGROUP_SIZE: workgroupSize,
        },
      },
      enables: enablesOf(context),
      numImmediates: 1,
    },
    [table, tokenIds, sources, fused.buffer, first.buffer, gains, hidden, out.buffer],
    portable ? workgroupSize : 1,
    ({ numRows }) => 2 * numRows,
  );
  if (!isCut) return input;
  const gathered = parts.map((part) =>
    threadsOp(
      context,
      {
        shader: ["feature_source", "eagle3_own"],
        constants: { ...columnsOf(part), kv_t: family.storage, COLUMNS: own.size / 4, WORKGROUP_SIZE },
        enables: storageEnables(family),
        numImmediates: 1,
      },
      [sources, part.buffer, hidden],
      WORKGROUP_SIZE,
      ({ numRows }) => (numRows * part.size) / 4,
    ),
  );
  return inTurn([...gathered, input]);
}

export interface SpreadLogitsArgs {
  readonly vocabSize: number;
  /** [numLogits, size of the reduced vocabulary], in one range */
  readonly reduced: Product;
  /** u32 [vocabSize]: where a token is in the reduced vocabulary, or NO_PLACE */
  readonly places: Binding;
  /** f32 [numLogits, logitsStride(vocabSize)] */
  readonly logits: GPUBuffer;
}

/** Logits over the whole vocabulary; those of tokens without a place are never drawn (wgsl/spread_logits.wgsl). */
export function spreadLogits(
  context: OpContext,
  { vocabSize, reduced, places, logits }: SpreadLogitsArgs,
): Promise<Op> {
  const stride = logitsStride(vocabSize);
  return threadsOp(
    context,
    {
      shader: ["spread_logits"],
      constants: { VOCAB_SIZE: vocabSize, LOGITS_STRIDE: stride, REDUCED_STRIDE: reduced.numOutputs, WORKGROUP_SIZE },
      numImmediates: 1,
    },
    [reduced.buffer, places, logits],
    WORKGROUP_SIZE,
    ({ numLogits }) => numLogits * vocabSize,
    ({ numLogits }) => [numLogits],
  );
}
