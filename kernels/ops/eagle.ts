import type { Binding } from "../kernel.ts";
import { inTurn, type Op, type OpContext, threadsOp } from "../op.ts";
import { columnsOf, type FeatureStore, pairedParts } from "./feature-store.ts";
import { enablesOf } from "./features.ts";
import { type Activation, activationWriter, type Product, productReader } from "./product.ts";

const WORKGROUP_SIZE = 64;

/** Set in a source that is a slot of the drafter's own features. */
export const OWN_FEATURE = 0x80000000;

export interface EagleInputArgs {
  /** Storage type [vocabSize, size] */
  readonly table: Binding;
  /** u32 [numRows] */
  readonly tokenIds: Binding;
  /** u32 [numRows]: a slot of `target`, or with OWN_FEATURE of `own` */
  readonly sources: Binding;
  readonly target: FeatureStore;
  /** A whole store, of the same size. */
  readonly own: FeatureStore;
  /** [numRows, 2 · size] */
  readonly out: Activation;
}

/** out[row] = [embedding of its token, its feature] (wgsl/eagle_input.wgsl). */
export function eagleInput(context: OpContext, args: EagleInputArgs): Promise<Op> {
  const { table, tokenIds, sources, target, own, out } = args;
  const writer = activationWriter(context.family, out);
  return inTurn(
    pairedParts(target, own).map(([ofTarget, ofOwn]) =>
      threadsOp(
        context,
        {
          shader: [...writer.shader, "feature_source", "eagle_input"],
          constants: {
            ...{ ...writer.constants, ...columnsOf(ofTarget), kv_t: context.family.storage },
            ...{ OWN_STRIDE: ofOwn.stride / 4, OWN_OFFSET: ofOwn.offset / 4, COLUMNS: own.size / 4, WORKGROUP_SIZE },
          },
          enables: enablesOf(context),
          numImmediates: 1,
        },
        [table, tokenIds, sources, ofTarget.buffer, ofOwn.buffer, out.buffer],
        WORKGROUP_SIZE,
        ({ numRows }) => (numRows * 2 * ofTarget.size) / 4,
      ),
    ),
  );
}

export interface AddBiasArgs {
  /** [numRows, size] */
  readonly product: Product;
  /** f32 [size] */
  readonly bias: Binding;
  /** f32 [numRows, size] */
  readonly hidden: GPUBuffer;
  readonly out: Activation;
}

/** hidden[row] = out[row] = product[row] + bias (wgsl/add_bias.wgsl). */
export function addBias(context: OpContext, { product, bias, hidden, out }: AddBiasArgs): Promise<Op> {
  const reader = productReader(product);
  const writer = activationWriter(context.family, out);
  const columns = out.numInputs / 4;
  return threadsOp(
    context,
    {
      shader: [...reader.shader, ...writer.shader, "add_bias"],
      constants: { ...reader.constants, ...writer.constants, COLUMNS: columns, WORKGROUP_SIZE },
      enables: writer.enables,
      numImmediates: 1,
    },
    [product.buffer, bias, hidden, out.buffer],
    WORKGROUP_SIZE,
    ({ numRows }) => numRows * columns,
  );
}
