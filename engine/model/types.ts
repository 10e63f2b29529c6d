import type { WeightBlocks } from "../../kernels/index.ts";

/** Storage types of weights on disk. */
export type TensorType =
  | ("F32" | "F16" | "BF16")
  | ("Q8_0" | "Q4_0" | "Q4_1" | "Q5_0" | "Q5_1")
  | ("Q2_K" | "Q3_K" | "Q4_K" | "Q5_K" | "Q6_K");

export interface TensorInfo {
  readonly name: string;
  readonly type: TensorType;
  /** Row-major, outermost first: a matrix is [rows (output features), columns (input features)]. */
  readonly shape: readonly number[];
}

/**
 * Named weights of one model, under Hugging Face's names ("model.layers.0.self_attn.q_proj.weight").
 * Readers of other formats translate; q_proj and k_proj rows are always in the rotary "halves" order.
 */
export interface WeightSource {
  names(): readonly string[];
  has(name: string): boolean;
  /** @throws ModelFileError (malformed) when there is no such tensor. */
  info(name: string): TensorInfo;
  /** Dequantised values f32 [product of shape]. @throws ModelFileError when the file is cut short. */
  readF32(name: string): Float32Array;
  /** The same values as the file holds them, where kernels can work with that form. @throws ModelFileError as readF32 does. */
  readBlocks(name: string): WeightBlocks;
  close(): void;
}

/** RoPE frequencies stretched as Llama 3.1 does ("rope_type": "llama3"). */
export interface Llama3RopeScaling {
  readonly factor: number;
  readonly lowFreqFactor: number;
  readonly highFreqFactor: number;
  readonly originalMaxPositionEmbeddings: number;
}

/** Shape of a Llama-architecture decoder. */
export interface LlamaConfig {
  readonly vocabSize: number;
  readonly hiddenSize: number;
  readonly numLayers: number;
  readonly numHeads: number;
  readonly numKvHeads: number;
  readonly headDim: number;
  readonly intermediateSize: number;
  readonly maxPositionEmbeddings: number;
  readonly rmsNormEps: number;
  readonly ropeTheta: number;
  readonly ropeScaling?: Llama3RopeScaling;
  /** Explicit divisors of the frequencies f32 [headDim / 2] (GGUF's rope_freqs tensor), instead of ropeScaling. */
  readonly ropeFreqFactors?: Float32Array;
  /** The LM head is the embedding matrix. */
  readonly tieWordEmbeddings: boolean;
}

/** What a model's files say about text. */
export interface TextAssets {
  /** The contents of tokenizer.json, or an equal object made from GGUF metadata. */
  readonly tokenizerJson: unknown;
  /** tokenizer_config.json's fields that matter here. */
  readonly chatTemplate?: string;
  readonly bosTokenId?: number;
  /** Put a BOS before the prompt of a plain completion. */
  readonly addBos: boolean;
  /** Every id that ends a turn or a text. */
  readonly endTokenIds: readonly number[];
}

/** Sampling defaults of generation_config.json. */
export interface GenerationDefaults {
  readonly temperature?: number;
  readonly topP?: number;
  readonly topK?: number;
  readonly minP?: number;
  readonly repetitionPenalty?: number;
}

/** A model opened from disk: shape, weights and text, nothing on the GPU yet. */
export interface OpenedModel {
  readonly name: string;
  /** Folder or file it came from. */
  readonly path: string;
  readonly config: LlamaConfig;
  readonly weights: WeightSource;
  /** Absent where the files hold no tokenizer (a drafter of another model). */
  readonly text?: TextAssets;
  readonly generationDefaults: GenerationDefaults;
  /** Hex digest of the weights' identity: file sizes and headers. */
  readonly digest: string;
}
