import type { Binding, BoundKernel } from "../kernel.ts";
import type { OpContext } from "../op.ts";
import { storageEnables } from "./storage.ts";

const WORKGROUP_SIZE = 64;

/** Moves slots of one layer's K and V cache; see `commitKv`. */
export type CommitKv = (pass: GPUComputePassEncoder, numMoves: number) => void;

/**
 * Copies K and V between slots: moves u32 [numMoves, 2] of (from, to), a sequence's in ascending depth.
 * @param slotSize numKvHeads · headDim
 */
export async function commitKv(
  context: OpContext,
  args: { slotSize: number; moves: Binding; kCache: Binding; vCache: Binding },
): Promise<CommitKv> {
  const kernel: BoundKernel = await context.kernels.bind(
    {
      shader: ["commit_kv"],
      constants: { kv_t: context.family.storage, SLOT_SIZE: args.slotSize, WORKGROUP_SIZE },
      enables: storageEnables(context.family),
      numImmediates: 1,
    },
    [args.moves, args.kCache, args.vCache],
  );
  const words = new Uint32Array(1);
  return (pass, numMoves) => {
    if (numMoves === 0) return;
    words[0] = numMoves;
    kernel.dispatch(pass, [Math.ceil(args.slotSize / 4 / WORKGROUP_SIZE), 1, 1], words);
  };
}
