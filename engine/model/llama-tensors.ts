import { ModelFileError } from "../errors.ts";
import type { LlamaConfig, WeightSource } from "./types.ts";

/** Shape of every weight of a decoder, by Hugging Face name: matrices [rows (outputs), columns (inputs)]. */
export function llamaTensorShapes(config: LlamaConfig): ReadonlyMap<string, readonly number[]> {
  const { hiddenSize, vocabSize } = config;
  const shapes = new Map<string, readonly number[]>([
    ["model.embed_tokens.weight", [vocabSize, hiddenSize]],
    ["model.norm.weight", [hiddenSize]],
  ]);
  if (!config.tieWordEmbeddings) shapes.set("lm_head.weight", [vocabSize, hiddenSize]);
  for (let layer = 0; layer < config.numLayers; layer++) {
    for (const [name, shape] of layerTensorShapes(config, `model.layers.${layer}`)) shapes.set(name, shape);
  }
  return shapes;
}

/** Shapes of one layer's weights, by names below `at`. */
export function layerTensorShapes(config: LlamaConfig, at: string): [name: string, shape: readonly number[]][] {
  const { hiddenSize, intermediateSize } = config;
  const queryRows = config.numHeads * config.headDim;
  const keyRows = config.numKvHeads * config.headDim;
  return [
    [`${at}.input_layernorm.weight`, [hiddenSize]],
    [`${at}.self_attn.q_proj.weight`, [queryRows, hiddenSize]],
    [`${at}.self_attn.k_proj.weight`, [keyRows, hiddenSize]],
    [`${at}.self_attn.v_proj.weight`, [keyRows, hiddenSize]],
    [`${at}.self_attn.o_proj.weight`, [hiddenSize, queryRows]],
    [`${at}.post_attention_layernorm.weight`, [hiddenSize]],
    [`${at}.mlp.gate_proj.weight`, [intermediateSize, hiddenSize]],
    [`${at}.mlp.up_proj.weight`, [intermediateSize, hiddenSize]],
    [`${at}.mlp.down_proj.weight`, [hiddenSize, intermediateSize]],
  ];
}

/**
 * Checks that the files hold the decoder that the configuration describes, before anything goes to a GPU.
 * @throws ModelFileError malformed for a missing tensor or a shape that does not match, unsupported for a bias.
 */
export function checkLlamaTensors(config: LlamaConfig, weights: WeightSource, path: string): void {
  // A layer has nine tensors; without this a config could ask for a map of millions.
  if (config.numLayers > weights.names().length) {
    throw new ModelFileError(
      "malformed",
      path,
      `${config.numLayers} layers but only ${weights.names().length} tensors`,
    );
  }
  checkTensorShapes(llamaTensorShapes(config), weights, path);
  const bias = weights.names().find((name) => name.endsWith(".bias"));
  if (bias !== undefined) {
    throw new ModelFileError("unsupported", path, `tensor ${bias}; only layers without biases are supported`);
  }
}

/** @throws ModelFileError malformed for a missing tensor or a shape that does not match. */
export function checkTensorShapes(
  shapes: Iterable<readonly [name: string, shape: readonly number[]]>,
  weights: WeightSource,
  path: string,
): void {
  for (const [name, shape] of shapes) {
    if (!weights.has(name)) throw new ModelFileError("malformed", path, `no tensor ${name}`);
    const found = weights.info(name).shape;
    if (found.length !== shape.length || found.some((dim, i) => dim !== shape[i])) {
      const problem = `tensor ${name} is [${found.join(", ")}], the configuration says [${shape.join(", ")}]`;
      throw new ModelFileError("malformed", path, problem);
    }
  }
}
