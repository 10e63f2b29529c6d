import type { Binding, Kernels } from "../kernel.ts";
import { type Op, type OpContext, type PassSize, threadsOp } from "../op.ts";
import { type Activation, activationWriter, type Product, productReader } from "./product.ts";

export interface AddRmsNormArgs {
  readonly hiddenSize: number;
  readonly epsilon: number;
  /** f32 [rows, hiddenSize], the residual stream: the product is added to the rows that are normed. */
  readonly hidden: GPUBuffer;
  /** What to add; nothing before the first layer. */
  readonly product?: Product;
  /** f32 [hiddenSize] */
  readonly gain: Binding;
  /** u32 [count], no row twice */
  readonly rowIndex: Binding;
  readonly out: Activation;
}

/** hidden[r] += product[r], then out[i] = RMSNorm(hidden[r]) · gain, r = rowIndex[i] (wgsl/add_rms_norm.wgsl). */
export function addRmsNorm(
  context: OpContext,
  args: AddRmsNormArgs,
  count: (size: PassSize) => number = (size) => size.numRows,
): Promise<Op> {
  const portable = context.family.name === "portable";
  const workgroupSize = portable ? 4 : threadsOfRow(args.hiddenSize, context.kernels);
  const writer = activationWriter(context.family, args.out);
  const reader = args.product ? productReader(args.product) : { shader: [], constants: {} };
  return threadsOp(
    context,
    {
      shader: [
        ...reader.shader,
        args.product ? "residual_product" : "residual_stream",
        ...writer.shader,
        ...(portable ? ["add_rms_norm"] : ["group_sum", "add_rms_norm_subgroup"]),
      ],
      constants: {
        ...{ HIDDEN_SIZE: args.hiddenSize, COLUMNS: args.hiddenSize / 4, EPSILON: args.epsilon },
        ...{ WORKGROUP_SIZE: workgroupSize, ...reader.constants, ...writer.constants },
      },
      enables: writer.enables,
      numImmediates: 1,
    },
    [args.hidden, args.gain, args.rowIndex, args.out.buffer, ...(args.product ? [args.product.buffer] : [])],
    portable ? workgroupSize : 1,
    count,
    (size) => [count(size)],
  );
}

/** A power of two: a thread for each vector of a row, so that all of them are on their way at once. */
export function threadsOfRow(hiddenSize: number, { maxWorkgroupSize }: Pick<Kernels, "maxWorkgroupSize">): number {
  return Math.min(maxWorkgroupSize, 2 ** Math.ceil(Math.log2(hiddenSize / 4)));
}
