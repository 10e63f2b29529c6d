import { logitsStride, type ProductShape } from "../../kernels/index.ts";
import type { LlamaConfig } from "./types.ts";

/** Shapes of a layer's products, and of the LM head, whose consumer cannot add ranges. */
export function productShapes(config: LlamaConfig) {
  const { hiddenSize, numHeads, numKvHeads, headDim, intermediateSize, vocabSize } = config;
  return {
    qkv: { numInputs: hiddenSize, numOutputs: (numHeads + 2 * numKvHeads) * headDim },
    output: { numInputs: numHeads * headDim, numOutputs: hiddenSize },
    gateUp: { numInputs: hiddenSize, numOutputs: 2 * intermediateSize },
    down: { numInputs: intermediateSize, numOutputs: hiddenSize },
    lmHead: { numInputs: hiddenSize, numOutputs: logitsStride(vocabSize) },
  } satisfies Record<string, ProductShape>;
}
