import {
  type BufferPool,
  type KernelFamily,
  logitsStride,
  type PackedMatrix,
  packRows,
  ropeTable,
  stackBlocks,
  uploadMatrix,
} from "../../kernels/index.ts";
import { inverseFrequencies } from "../model/rope.ts";
import type { LlamaConfig, WeightSource } from "../model/types.ts";

/** Weights on the GPU, matrices as the family's products read them. */
export interface LlamaWeights {
  /** Storage type [vocabSize, hiddenSize], row-major */
  readonly embedding: GPUBuffer;
  readonly lmHead: PackedMatrix;
  /** f32 [hiddenSize] */
  readonly finalNorm: GPUBuffer;
  /** f32 [maxModelLen, 2, headDim / 2] */
  readonly rope: GPUBuffer;
  readonly layers: readonly LayerWeights[];
}

export interface LayerWeights {
  readonly inputNorm: GPUBuffer;
  /** Rows of q_proj, k_proj and v_proj in one matrix. */
  readonly qkv: PackedMatrix;
  readonly output: PackedMatrix;
  readonly mlpNorm: GPUBuffer;
  /** Rows of gate_proj and up_proj in one matrix. */
  readonly gateUp: PackedMatrix;
  readonly down: PackedMatrix;
}

/** Reads, fuses, repacks and uploads all weights. @throws ModelFileError */
export function uploadLlama(
  pool: BufferPool,
  family: KernelFamily,
  config: LlamaConfig,
  source: WeightSource,
  maxModelLen: number,
): LlamaWeights {
  const { hiddenSize, vocabSize, numHeads, numKvHeads, headDim, intermediateSize } = config;
  const vector = (name: string) => pool.upload(new Float32Array(source.readF32(name)), name);
  const matrix = (names: readonly string[], numInputs: number, numOutputs: number) => {
    const blocks = stackBlocks(names.map((name) => source.readBlocks(name)));
    return uploadMatrix(pool, family, { numInputs, numOutputs }, blocks, names.join("+"));
  };

  const layers = Array.from({ length: config.numLayers }, (_, layer): LayerWeights => {
    const at = `model.layers.${layer}`;
    const attention = (name: string) => `${at}.self_attn.${name}_proj.weight`;
    const mlp = (name: string) => `${at}.mlp.${name}_proj.weight`;
    return {
      inputNorm: vector(`${at}.input_layernorm.weight`),
      qkv: matrix(["q", "k", "v"].map(attention), hiddenSize, (numHeads + 2 * numKvHeads) * headDim),
      output: matrix([attention("o")], numHeads * headDim, hiddenSize),
      mlpNorm: vector(`${at}.post_attention_layernorm.weight`),
      gateUp: matrix([mlp("gate"), mlp("up")], hiddenSize, 2 * intermediateSize),
      down: matrix([mlp("down")], intermediateSize, hiddenSize),
    };
  });
  const embedding = "model.embed_tokens.weight";
  const head = config.tieWordEmbeddings ? embedding : "lm_head.weight";
  return {
    embedding: pool.upload(packRows(family, source.readF32(embedding)), embedding),
    lmHead: matrix([head], hiddenSize, logitsStride(vocabSize)),
    finalNorm: vector("model.norm.weight"),
    rope: pool.upload(ropeTable(inverseFrequencies(config), maxModelLen), "rope"),
    layers,
  };
}
