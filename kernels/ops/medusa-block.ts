import type { Binding } from "../kernel.ts";
import { inTurn, type Op, type OpContext, threadsOp } from "../op.ts";
import { columnsOf, type FeatureStore, partsOf } from "./feature-store.ts";
import { enablesOf } from "./features.ts";
import { type Activation, activationWriter, type Product, productReader } from "./product.ts";

const WORKGROUP_SIZE = 64;

export interface MedusaBlockArgs {
  /** W x [numRows, size] */
  readonly product: Product;
  /** f32 [size] */
  readonly bias: Binding;
  /** x of the head's first block: features of u32 [numRows] slots. */
  readonly slots: Binding;
  readonly features: FeatureStore;
  readonly isFirst: boolean;
  /** f32 [numRows, size]: x of the other blocks; the result. */
  readonly state: GPUBuffer;
  /** The result as a product's input; its rows begin at head · numRows. */
  readonly out: Activation;
  readonly head: number;
}

/** y = x + silu(W x + bias): a residual block of a Medusa head (wgsl/medusa_block.wgsl). */
export function medusaBlock(context: OpContext, args: MedusaBlockArgs): Promise<Op> {
  const { product, bias, slots, features, isFirst, state, out, head } = args;
  const reader = productReader(product);
  const writer = activationWriter(context.family, out);
  const constants = {
    ...reader.constants,
    ...writer.constants,
    kv_t: context.family.storage,
    COLUMNS: features.size / 4,
  };
  return inTurn(
    partsOf(features).map((part) =>
      threadsOp(
        context,
        {
          shader: [...reader.shader, ...writer.shader, "silu", "medusa_block"],
          constants: { ...constants, ...columnsOf(part), FIRST: isFirst ? 1 : 0, HEAD: head, WORKGROUP_SIZE },
          enables: enablesOf(context),
          numImmediates: 1,
        },
        [product.buffer, bias, slots, part.buffer, state, out.buffer],
        WORKGROUP_SIZE,
        ({ numRows }) => (numRows * part.size) / 4,
      ),
    ),
  );
}
