import { type Op, type OpContext, threadsOp } from "../op.ts";
import { type Activation, activationWriter } from "./product.ts";

const WORKGROUP_SIZE = 32;

/** Makes rows f32 [numRows, numInputs] the input of a product. */
export function packActivation(context: OpContext, args: { rows: GPUBuffer; out: Activation }): Promise<Op> {
  const { rows, out } = args;
  const writer = activationWriter(context.family, out);
  return threadsOp(
    context,
    {
      shader: [...writer.shader, "pack_activation"],
      constants: { WORKGROUP_SIZE, ...writer.constants },
      enables: writer.enables,
      numImmediates: 1,
    },
    [rows, out.buffer],
    WORKGROUP_SIZE,
    (size) => (size.numRows * out.numInputs) / 4,
  );
}
