import type { Binding } from "../kernel.ts";
import { inTurn, type Op, type OpContext, threadsOp } from "../op.ts";
import type { EmbeddingTable } from "../weights/embedding-table.ts";
import { storageEnables } from "./storage.ts";

const WORKGROUP_SIZE = 64;

/** hidden f32 [numRows, hiddenSize] = rows of `table` chosen by tokenIds u32 [numRows]: each part writes the rows that are its own. */
export function embedding(
  context: OpContext,
  args: { hiddenSize: number; table: EmbeddingTable; tokenIds: Binding; hidden: GPUBuffer },
): Promise<Op> {
  const { hiddenSize, table, tokenIds, hidden } = args;
  return inTurn(
    table.map(({ rows, firstToken, numTokens }) =>
      threadsOp(
        context,
        {
          shader: ["embedding"],
          constants: {
            ...{ weight_t: context.family.storage, HIDDEN_SIZE: hiddenSize, WORKGROUP_SIZE },
            ...{ FIRST_TOKEN: firstToken, NUM_TOKENS: numTokens },
          },
          enables: storageEnables(context.family),
          numImmediates: 1,
        },
        [rows, tokenIds, hidden],
        WORKGROUP_SIZE,
        (size) => (size.numRows * hiddenSize) / 4,
      ),
    ),
  );
}
