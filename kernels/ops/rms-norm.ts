import type { Binding } from "../kernel.ts";
import { type Op, type OpContext, type PassSize, threadsOp } from "../op.ts";

/**
 * out[i] f32 = RMSNorm(x[rowIndex[i]]) · gain: x f32 [rows, hiddenSize], gain f32 [hiddenSize], rowIndex u32 [count],
 * out f32 [count, hiddenSize].
 */
export function rmsNorm(
  context: OpContext,
  args: { hiddenSize: number; epsilon: number; x: GPUBuffer; gain: Binding; rowIndex: Binding; out: GPUBuffer },
  count: (size: PassSize) => number = (size) => size.numRows,
): Promise<Op> {
  const portable = context.family.name === "portable";
  const workgroupSize = portable ? 4 : 128;
  return threadsOp(
    context,
    {
      shader: [portable ? "rms_norm" : "rms_norm_subgroup"],
      constants: { HIDDEN_SIZE: args.hiddenSize, EPSILON: args.epsilon, WORKGROUP_SIZE: workgroupSize },
      numImmediates: 1,
    },
    [args.x, args.gain, args.rowIndex, args.out],
    portable ? workgroupSize : 1,
    count,
    (size) => [count(size)],
  );
}
