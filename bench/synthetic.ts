import { productShapes } from "../engine/model/product-shapes.ts";
import { inverseFrequencies } from "../engine/model/rope.ts";
import type { LlamaConfig } from "../engine/model/types.ts";
import type { LayerWeights, LlamaWeights } from "../engine/runner/weights.ts";
import { type GpuContext, type ProductShape, ropeTable, type WeightFormat } from "../kernels/index.ts";
import { RandomWeights } from "./random-weights.ts";

const COMMON = { maxPositionEmbeddings: 8192, rmsNormEps: 1e-5, ropeTheta: 500_000 } as const;

/** Shapes of real models; `peers/synth_gguf.py` writes files of the same. */
export const SYNTHETIC_SHAPES = {
  "135m": {
    ...{ vocabSize: 49152, hiddenSize: 576, numLayers: 30, numHeads: 9, numKvHeads: 3, headDim: 64 },
    ...{ intermediateSize: 1536, tieWordEmbeddings: true, ...COMMON },
  },
  "1b": {
    ...{ vocabSize: 128256, hiddenSize: 2048, numLayers: 16, numHeads: 32, numKvHeads: 8, headDim: 64 },
    ...{ intermediateSize: 8192, tieWordEmbeddings: true, ...COMMON },
  },
  "8b": {
    ...{ vocabSize: 128256, hiddenSize: 4096, numLayers: 32, numHeads: 32, numKvHeads: 8, headDim: 128 },
    ...{ intermediateSize: 14336, tieWordEmbeddings: false, ...COMMON },
  },
} as const satisfies Readonly<Record<string, LlamaConfig>>;

export type SyntheticShape = keyof typeof SYNTHETIC_SHAPES;
export const SHAPE_NAMES = Object.keys(SYNTHETIC_SHAPES) as readonly SyntheticShape[];

/** Random weights of a decoder, made on the device; norms are ones. */
export function syntheticWeights(
  gpu: GpuContext,
  config: LlamaConfig,
  format: WeightFormat,
  maxModelLen: number,
): LlamaWeights {
  const { hiddenSize, vocabSize } = config;
  const shapes = productShapes(config);
  const random = new RandomWeights(gpu);
  const ones = () => gpu.pool.upload(new Float32Array(hiddenSize).fill(1), "norm");
  const matrix = (shape: ProductShape, label: string) => random.matrix(format, shape, label);
  const layers = Array.from(
    { length: config.numLayers },
    (): LayerWeights => ({
      inputNorm: ones(),
      qkv: matrix(shapes.qkv, "qkv"),
      output: matrix(shapes.output, "output"),
      mlpNorm: ones(),
      gateUp: matrix(shapes.gateUp, "gateUp"),
      down: matrix(shapes.down, "down"),
    }),
  );
  const weights = {
    embedding: random.embedding(vocabSize, hiddenSize),
    lmHead: matrix(shapes.lmHead, "lmHead"),
    finalNorm: ones(),
    rope: gpu.pool.upload(ropeTable(inverseFrequencies(config), maxModelLen), "rope"),
    layers,
  };
  random.close();
  return weights;
}
