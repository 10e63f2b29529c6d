import {
  type BufferPool,
  type EmbeddingTable,
  embeddingTable,
  type GpuContext,
  type KernelFamily,
  type PackedMatrix,
  type ProductShape,
  packRows,
  ropeTable,
  stackBlocks,
  storageBytes,
  uploadMatrix,
} from "../../kernels/index.ts";
import { productShapes } from "../model/product-shapes.ts";
import { inverseFrequencies } from "../model/rope.ts";
import type { LlamaConfig, WeightSource } from "../model/types.ts";

/** Weights on the GPU, matrices as the family's products read them. */
export interface LlamaWeights {
  readonly embedding: EmbeddingTable;
  readonly lmHead: PackedMatrix;
  /** f32 [hiddenSize] */
  readonly finalNorm: GPUBuffer;
  /** f32 [maxModelLen, 2, headDim / 2] */
  readonly rope: GPUBuffer;
  readonly layers: readonly LayerWeights[];
}

/** A decoder layer but for the norm before its attention, which EAGLE's lacks. */
export interface BareLayerWeights {
  /** Rows of q_proj, k_proj and v_proj in one matrix. */
  readonly qkv: PackedMatrix;
  readonly output: PackedMatrix;
  readonly mlpNorm: GPUBuffer;
  /** Rows of gate_proj and up_proj in one matrix. */
  readonly gateUp: PackedMatrix;
  readonly down: PackedMatrix;
}

export interface LayerWeights extends BareLayerWeights {
  readonly inputNorm: GPUBuffer;
}

/** The weights on the device: as they are, or uploaded from their files now. @throws ModelFileError */
export function onDevice(
  { pool, family }: GpuContext,
  config: LlamaConfig,
  weights: WeightSource | LlamaWeights,
  maxModelLen: number,
): LlamaWeights {
  return "layers" in weights ? weights : uploadLlama(pool, family, config, weights, maxModelLen);
}

/** Uploads tensors of a file by name: vectors f32, and matrices one below the other. @throws ModelFileError */
export function uploader(pool: BufferPool, family: KernelFamily, source: WeightSource) {
  return {
    vector: (name: string) => pool.upload(new Float32Array(source.readF32(name)), name),
    matrix: (names: readonly string[], shape: ProductShape): PackedMatrix => {
      const blocks = stackBlocks(names.map((name) => source.readBlocks(name)));
      return uploadMatrix(pool, family, shape, blocks, names.join("+"));
    },
  };
}

/** Uploads a layer whose tensors have names below `at`. @throws ModelFileError */
export function uploadLayer(
  { vector, matrix }: ReturnType<typeof uploader>,
  shapes: ReturnType<typeof productShapes>,
  at: string,
): BareLayerWeights {
  const attention = (name: string) => `${at}.self_attn.${name}_proj.weight`;
  const mlp = (name: string) => `${at}.mlp.${name}_proj.weight`;
  return {
    qkv: matrix(["q", "k", "v"].map(attention), shapes.qkv),
    output: matrix([attention("o")], shapes.output),
    mlpNorm: vector(`${at}.post_attention_layernorm.weight`),
    gateUp: matrix([mlp("gate"), mlp("up")], shapes.gateUp),
    down: matrix([mlp("down")], shapes.down),
  };
}

/** Reads, fuses, repacks and uploads all weights. @throws ModelFileError */
export function uploadLlama(
  pool: BufferPool,
  family: KernelFamily,
  config: LlamaConfig,
  source: WeightSource,
  maxModelLen: number,
): LlamaWeights {
  const shapes = productShapes(config);
  const upload = uploader(pool, family, source);
  const { vector, matrix } = upload;

  const layers = Array.from({ length: config.numLayers }, (_, layer): LayerWeights => {
    const at = `model.layers.${layer}`;
    return { inputNorm: vector(`${at}.input_layernorm.weight`), ...uploadLayer(upload, shapes, at) };
  });
  const embedding = "model.embed_tokens.weight";
  const head = config.tieWordEmbeddings ? embedding : "lm_head.weight";
  return {
    embedding: uploadEmbedding(pool, family, config, source.readF32(embedding)),
    lmHead: matrix([head], shapes.lmHead),
    finalNorm: vector("model.norm.weight"),
    rope: pool.upload(ropeTable(inverseFrequencies(config), maxModelLen), "rope"),
    layers,
  };
}

/** @param values f32 [vocabSize, hiddenSize] */
function uploadEmbedding(
  pool: BufferPool,
  family: KernelFamily,
  { vocabSize, hiddenSize }: LlamaConfig,
  values: Float32Array,
): EmbeddingTable {
  return embeddingTable(pool, vocabSize, hiddenSize * storageBytes(family), (first, count, label) =>
    pool.upload(packRows(family, values.subarray(first * hiddenSize, (first + count) * hiddenSize)), label),
  );
}
