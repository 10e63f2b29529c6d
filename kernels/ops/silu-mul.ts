import { type Op, type OpContext, threadsOp } from "../op.ts";

const WORKGROUP_SIZE = 32;

/** out f32 [numRows, intermediateSize] = silu(gate) · up of gateUp f32 [numRows, 2 · intermediateSize]. */
export function siluMul(
  context: OpContext,
  args: { intermediateSize: number; gateUp: GPUBuffer; out: GPUBuffer },
): Promise<Op> {
  const { intermediateSize, gateUp, out } = args;
  return threadsOp(
    context,
    { shader: ["silu_mul"], constants: { SIZE: intermediateSize, WORKGROUP_SIZE }, numImmediates: 1 },
    [gateUp, out],
    WORKGROUP_SIZE,
    (size) => (size.numRows * intermediateSize) / 4,
  );
}
