import type { Binding, BoundKernel } from "../kernel.ts";
import type { OpContext } from "../op.ts";
import { storageEnables } from "./storage.ts";

const WORKGROUP_SIZE = 64;

/** Moves slots in all layers of a K and a V cache: `numLists` lists of `listLen` moves; see `commitKv`. */
export type CommitKv = (pass: GPUComputePassEncoder, numLists: number, listLen: number) => void;

export interface CommitKvArgs {
  /** numKvHeads · headDim */
  readonly slotSize: number;
  /** Slots of one layer. */
  readonly numSlots: number;
  readonly numLayers: number;
  /** u32 [numLists, listLen, 2] of (from, to) */
  readonly moves: Binding;
  /** Storage type [numLayers, numSlots, slotSize] */
  readonly kCache: Binding;
  readonly vCache: Binding;
}

/** Copies K and V between slots: a sequence's moves in one list, in ascending depth. */
export async function commitKv(context: OpContext, args: CommitKvArgs): Promise<CommitKv> {
  const { slotSize, numSlots, numLayers, moves, kCache, vCache } = args;
  const kernel: BoundKernel = await context.kernels.bind(
    {
      shader: ["commit_kv"],
      constants: { kv_t: context.family.storage, SLOT_SIZE: slotSize, NUM_SLOTS: numSlots, WORKGROUP_SIZE },
      enables: storageEnables(context.family),
      numImmediates: 1,
    },
    [moves, kCache, vCache],
  );
  const words = new Uint32Array(1);
  return (pass, numLists, listLen) => {
    if (listLen === 0) return;
    words[0] = listLen;
    kernel.dispatch(pass, [Math.ceil(slotSize / 4 / WORKGROUP_SIZE), numLists, numLayers], words);
  };
}
