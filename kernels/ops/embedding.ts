import type { Binding } from "../kernel.ts";
import { type Op, type OpContext, threadsOp } from "../op.ts";
import { storageEnables } from "./storage.ts";

const WORKGROUP_SIZE = 64;

/** hidden f32 [numRows, hiddenSize] = rows of `table` (storage type [vocabSize, hiddenSize]) chosen by tokenIds u32 [numRows]. */
export function embedding(
  context: OpContext,
  args: { hiddenSize: number; table: Binding; tokenIds: Binding; hidden: GPUBuffer },
): Promise<Op> {
  const { hiddenSize, table, tokenIds, hidden } = args;
  return threadsOp(
    context,
    {
      shader: ["embedding"],
      constants: { weight_t: context.family.storage, HIDDEN_SIZE: hiddenSize, WORKGROUP_SIZE },
      enables: storageEnables(context.family),
      numImmediates: 1,
    },
    [table, tokenIds, hidden],
    WORKGROUP_SIZE,
    (size) => (size.numRows * hiddenSize) / 4,
  );
}
