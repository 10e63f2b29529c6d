import { llamaTensorShapes } from "../../../engine/model/llama-tensors.ts";
import type { LlamaConfig, WeightSource } from "../../../engine/model/types.ts";
import { uniformHalves } from "../../support/arrays.ts";
import type { Random } from "../../support/random.ts";

/** Random weights in memory: normed inputs stay of about their size through every product. */
export class RandomLlama implements WeightSource {
  readonly #tensors: ReadonlyMap<
    string,
    { readonly shape: readonly number[]; readonly values: Float32Array<ArrayBuffer> }
  >;

  constructor(config: LlamaConfig, random: Random) {
    this.#tensors = new Map(
      [...llamaTensorShapes(config)].map(([name, shape]) => {
        const [rows = 1, columns] = shape;
        const values = uniformHalves(random, rows * (columns ?? 1), columns === undefined ? 1 : Math.sqrt(3 / columns));
        return [name, { shape, values }];
      }),
    );
  }

  names(): readonly string[] {
    return [...this.#tensors.keys()];
  }

  has(name: string): boolean {
    return this.#tensors.has(name);
  }

  info(name: string) {
    return { name, type: "F32" as const, shape: this.#find(name).shape };
  }

  readF32(name: string): Float32Array<ArrayBuffer> {
    return this.#find(name).values;
  }

  readBlocks(name: string) {
    return { format: "float" as const, values: this.readF32(name), lowPrecision: false };
  }

  close(): void {}

  #find(name: string) {
    const tensor = this.#tensors.get(name);
    if (tensor === undefined) throw new Error(`no tensor ${name}`);
    return tensor;
  }
}

/** K and V of one layer: f32 [positions, numKvHeads · headDim] each, keys rotated. */
export interface ReferenceKv {
  readonly keys: Float32Array;
  readonly values: Float32Array;
}

/**
 * The decoder in plain loops and f64, one token at a time: from a token and the K and V of all positions before it to its logits.
 * Writes the token's own K and V, rounded to f32.
 * @param mask positions that the token does not see
 */
export function referenceLogits(
  config: LlamaConfig,
  weights: WeightSource,
  tokenId: number,
  position: number,
  kv: readonly ReferenceKv[],
  mask: (position: number) => boolean = () => false,
): Float64Array {
  const { hiddenSize, numLayers, numHeads, numKvHeads, headDim } = config;
  const w = (name: string) => weights.readF32(name);
  const norm = (x: Float64Array, gain: string) => {
    const scale = 1 / Math.sqrt(x.reduce((sum, value) => sum + value * value, 0) / x.length + config.rmsNormEps);
    return x.map((value, i) => value * scale * (w(gain)[i] ?? 0));
  };
  const product = (x: Float64Array, name: string) => {
    const matrix = w(name);
    return Float64Array.from({ length: matrix.length / x.length }, (_, row) =>
      x.reduce((sum, value, i) => sum + value * (matrix[row * x.length + i] ?? 0), 0),
    );
  };
  const rotate = (heads: Float64Array) =>
    heads.map((value, i) => {
      const half = headDim / 2;
      const at = i % headDim;
      const angle = position * config.ropeTheta ** ((-2 * (at % half)) / headDim);
      const other = heads[at < half ? i + half : i - half] ?? 0;
      return value * Math.cos(angle) + (at < half ? -other : other) * Math.sin(angle);
    });
  let hidden = Float64Array.from(
    w("model.embed_tokens.weight").subarray(tokenId * hiddenSize, (tokenId + 1) * hiddenSize),
  );
  const add = (x: Float64Array) => {
    hidden = hidden.map((value, i) => value + (x[i] ?? 0));
  };
  for (let layer = 0; layer < numLayers; layer++) {
    const at = (name: string) => `model.layers.${layer}.${name}.weight`;
    const x = norm(hidden, at("input_layernorm"));
    const q = rotate(product(x, at("self_attn.q_proj")));
    const own = kv[layer];
    if (own === undefined) throw new RangeError(`no K and V for layer ${layer}`);
    const { keys, values } = own;
    const slot = numKvHeads * headDim;
    keys.set(rotate(product(x, at("self_attn.k_proj"))), position * slot);
    values.set(product(x, at("self_attn.v_proj")), position * slot);
    const attended = new Float64Array(numHeads * headDim);
    const seen = Array.from({ length: position + 1 }, (_, p) => p).filter((p) => !mask(p));
    for (let head = 0; head < numHeads; head++) {
      const kvHead = Math.floor((head * numKvHeads) / numHeads);
      const scores = seen.map((p) => {
        let dot = 0;
        for (let d = 0; d < headDim; d++)
          dot += (q[head * headDim + d] ?? 0) * (keys[p * slot + kvHead * headDim + d] ?? 0);
        return dot / Math.sqrt(headDim);
      });
      const top = scores.reduce((most, score) => Math.max(most, score), Number.NEGATIVE_INFINITY);
      const total = scores.reduce((sum, score) => sum + Math.exp(score - top), 0);
      for (const [i, p] of seen.entries()) {
        const weight = Math.exp((scores[i] ?? 0) - top) / total;
        for (let d = 0; d < headDim; d++) {
          attended[head * headDim + d] =
            (attended[head * headDim + d] ?? 0) + weight * (values[p * slot + kvHead * headDim + d] ?? 0);
        }
      }
    }
    add(product(attended, at("self_attn.o_proj")));
    const y = norm(hidden, at("post_attention_layernorm"));
    const up = product(y, at("mlp.up_proj"));
    const gated = product(y, at("mlp.gate_proj")).map((gate, i) => (gate / (1 + Math.exp(-gate))) * (up[i] ?? 0));
    add(product(gated, at("mlp.down_proj")));
  }
  return product(
    norm(hidden, "model.norm.weight"),
    config.tieWordEmbeddings ? "model.embed_tokens.weight" : "lm_head.weight",
  );
}
