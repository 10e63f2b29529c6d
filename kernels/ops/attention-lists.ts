import type { Binding } from "../kernel.ts";
import { type Op, type OpContext, threadsOp } from "../op.ts";

export type MaskType = "bool" | "f32" | "f16";

export interface AttentionListsShape {
  readonly numBatches: number;
  readonly qLen: number;
  readonly maskType: MaskType;
  /** 1, or numBatches. */
  readonly maskBatches: number;
  /** Heads of the mask. */
  readonly infoHeads: number;
  /** At least 1: rows of a sequence are told by their table. */
  readonly maxPages: number;
  readonly numPages: number;
  /** Lengths are capped at this. */
  readonly maxLen: number;
}

/** Shapes: wgsl/attention_lists.wgsl. */
export interface AttentionListsBuffers {
  readonly mask: Binding;
  readonly lengths: Binding;
  readonly pages: Binding;
  readonly rowInfo: Binding;
  readonly tables: Binding;
}

const MASK_TYPES: readonly MaskType[] = ["bool", "f32", "f16"];

/** Words of `tables` that the lists need. */
export function listWords(shape: AttentionListsShape): number {
  const listSize = (shape.maskType === "bool" ? 1 : 2) * shape.qLen;
  return shape.numBatches * shape.maxPages + shape.maskBatches * shape.infoHeads * shape.qLen * listSize;
}

/** Turns a mask into the rows and lists that attention reads. */
export function attentionLists(
  context: OpContext,
  shape: AttentionListsShape,
  buffers: AttentionListsBuffers,
): Promise<Op> {
  const { numBatches, qLen, maskBatches, infoHeads, maxPages, numPages, maxLen } = shape;
  const workgroupSize = context.family.name === "portable" ? 16 : 64;
  const spec = {
    shader: ["attention_lists"],
    constants: {
      MASK_TYPE: MASK_TYPES.indexOf(shape.maskType),
      INFO_HEADS: infoHeads,
      WORKGROUP_SIZE: workgroupSize,
    },
    numImmediates: 6,
  };
  return threadsOp(
    context,
    spec,
    [buffers.mask, buffers.lengths, buffers.pages, buffers.rowInfo, buffers.tables],
    workgroupSize,
    () => numBatches * infoHeads * qLen,
    () => [numBatches, qLen, maskBatches, maxPages, numPages, maxLen],
  );
}
