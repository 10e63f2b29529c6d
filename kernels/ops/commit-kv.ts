import { kvTypeOf } from "../family.ts";
import type { Binding, BoundKernel } from "../kernel.ts";
import type { OpContext } from "../op.ts";
import type { KvLayout } from "./kv-layout.ts";

const WORKGROUP_SIZE = 64;

/** Moves slots in all sections of a K and a V cache: `numLists` lists of `listLen` moves; see `commitKv`. */
export type CommitKv = (pass: GPUComputePassEncoder, numLists: number, listLen: number) => void;

export interface CommitKvArgs {
  readonly layout: KvLayout;
  /** Of a layer, or of a shard of one: bytes from one section's slots to the next one's. */
  readonly sectionBytes: number;
  readonly numSections: number;
  /** u32 [numLists, listLen, 2] of (from, to) */
  readonly moves: Binding;
  /** [numSections, sectionBytes]: slots as the layout has them */
  readonly kCache: Binding;
  readonly vCache: Binding;
}

/** Copies K and V between slots: a sequence's moves in one list, in ascending depth. */
export async function commitKv(context: OpContext, args: CommitKvArgs): Promise<CommitKv> {
  const { layout, sectionBytes, numSections, moves, kCache, vCache } = args;
  const { element, elementBytes, numElements } = layout;
  const kernel: BoundKernel = await context.kernels.bind(
    {
      shader: ["commit_kv"],
      constants: {
        ...{ kv_element: element, SLOT_ELEMENTS: numElements, SECTION_ELEMENTS: sectionBytes / elementBytes },
        WORKGROUP_SIZE,
      },
      enables: kvTypeOf(context.family) === "f16" ? ["f16"] : [],
      numImmediates: 1,
    },
    [moves, kCache, vCache],
  );
  const words = new Uint32Array(1);
  return (pass, numLists, listLen) => {
    if (listLen === 0) return;
    words[0] = listLen;
    kernel.dispatch(pass, [Math.ceil(numElements / WORKGROUP_SIZE), numLists, numSections], words);
  };
}
