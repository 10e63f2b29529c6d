import type { GpuContext, PackedMatrix } from "../../../kernels/index.ts";
import { ModelFileError } from "../../errors.ts";
import type { DrafterFiles } from "../../model/drafter-files.ts";
import { checkTensorShapes } from "../../model/llama-tensors.ts";
import { productShapes } from "../../model/product-shapes.ts";
import type { LlamaConfig } from "../../model/types.ts";
import { uploader } from "../../runner/weights.ts";

/** One residual block: x + silu(W x + bias). */
export interface MedusaBlockWeights {
  readonly weights: PackedMatrix;
  /** f32 [hiddenSize] */
  readonly bias: GPUBuffer;
}

/** A head on the GPU: blocks, and an LM head of its own where the file has one (else the target's serves). */
export interface MedusaHead {
  readonly blocks: readonly MedusaBlockWeights[];
  readonly lmHead?: PackedMatrix;
}

/**
 * The heads of a file: tensors `medusa_head.{head}.{block}.linear.weight` and `.bias`, and for LM heads of their own
 * `medusa_head.{head}.{number of blocks}.weight`; the first public files leave out `medusa_head.`.
 * @throws ModelFileError where a tensor is missing or does not fit the target
 */
export function uploadMedusa(
  { pool, family }: GpuContext,
  { weights, path }: Pick<DrafterFiles, "weights" | "path">,
  target: LlamaConfig,
): readonly MedusaHead[] {
  const { hiddenSize, vocabSize } = target;
  const prefix = weights.has("0.0.linear.weight") ? "" : "medusa_head.";
  const block = (head: number, index: number) => `${prefix}${head}.${index}.linear`;
  const count = (has: (index: number) => boolean) => {
    let index = 0;
    while (has(index)) index++;
    return index;
  };
  const numHeads = count((head) => weights.has(`${block(head, 0)}.weight`));
  if (numHeads === 0) throw new ModelFileError("malformed", path, `no tensor ${block(0, 0)}.weight`);
  const numBlocks = count((index) => weights.has(`${block(0, index)}.weight`));
  const lmHead = (head: number) => `${prefix}${head}.${numBlocks}.weight`;
  const ownLmHeads = weights.has(lmHead(0));
  const heads = Array.from({ length: numHeads }, (_, head) => head);
  const blocks = Array.from({ length: numBlocks }, (_, index) => index);
  checkTensorShapes(
    heads.flatMap((head) => [
      ...blocks.flatMap((index): [string, readonly number[]][] => [
        [`${block(head, index)}.weight`, [hiddenSize, hiddenSize]],
        [`${block(head, index)}.bias`, [hiddenSize]],
      ]),
      ...(ownLmHeads ? [[lmHead(head), [vocabSize, hiddenSize]] as const] : []),
    ]),
    weights,
    path,
  );
  const { vector, matrix } = uploader(pool, family, weights);
  const square = { numInputs: hiddenSize, numOutputs: hiddenSize };
  return heads.map((head) => ({
    blocks: blocks.map((index) => ({
      weights: matrix([`${block(head, index)}.weight`], square),
      bias: vector(`${block(head, index)}.bias`),
    })),
    ...(ownLmHeads ? { lmHead: matrix([lmHead(head)], productShapes(target).lmHead) } : {}),
  }));
}
