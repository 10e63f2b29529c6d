import { type Op, type OpContext, threadsOp } from "../op.ts";
import { type Activation, activationWriter, type Product, productReader } from "./product.ts";

const WORKGROUP_SIZE = 32;

/** out [numRows, size] = silu(gate) · up of a product [numRows, 2 · size], gates first (wgsl/silu_mul.wgsl). */
export function siluMul(context: OpContext, args: { gateUp: Product; out: Activation }): Promise<Op> {
  const { gateUp, out } = args;
  const reader = productReader(gateUp);
  const writer = activationWriter(context.family, out);
  return threadsOp(
    context,
    {
      shader: [...reader.shader, ...writer.shader, "silu", "gated", "silu_mul"],
      constants: { SIZE: out.numInputs, WORKGROUP_SIZE, ...reader.constants, ...writer.constants },
      enables: writer.enables,
      numImmediates: 1,
    },
    [gateUp.buffer, out.buffer],
    WORKGROUP_SIZE,
    (size) => (size.numRows * out.numInputs) / 4,
  );
}
