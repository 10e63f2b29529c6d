import {
  cutOutputs,
  type EmbeddingTable,
  embeddingTable,
  type GpuContext,
  type PackedMatrix,
  type ProductShape,
  paddedOutputs,
  storageBytes,
  toHalf,
  type WeightFormat,
} from "../kernels/index.ts";
import { randomBytes, randomValues } from "./random.ts";

type Pattern = Uint8Array<ArrayBuffer> | Uint16Array<ArrayBuffer> | Float32Array<ArrayBuffer>;

/** Words of 4 bytes that repeat in a buffer: a prime number, so that hardly two rows of a matrix are the same. */
const PATTERN_WORDS = 1_048_573;
/** Inputs that share a scale. */
const BLOCK_INPUTS = 32;
/** Standard deviations of what the values hold: bytes less 128, half bytes less 7.5, evenly spread values in [−1, 1). */
const SPREAD = { q8: 73.9, q4: 4.61, float: 0.577 } as const;
/** Bytes of a weight and of its share of the scales. */
export const BYTES_PER_WEIGHT: Readonly<Record<WeightFormat, { readonly value: number; readonly scale: number }>> = {
  f32: { value: 4, scale: 0 },
  f16: { value: 2, scale: 0 },
  q8: { value: 1, scale: 2 / BLOCK_INPUTS },
  q4: { value: 0.5, scale: 4 / BLOCK_INPUTS },
};

/**
 * Weights for which no file is needed: gigabytes of them in a moment, written on the device from patterns that are sent once.
 * Mean 0 and variance 1 / numInputs, so that what passes through many layers neither vanishes nor overflows.
 */
export class RandomWeights {
  readonly #gpu: GpuContext;
  readonly #patterns = new Map<string, GPUBuffer>();

  constructor(gpu: GpuContext) {
    this.#gpu = gpu;
  }

  /** @param format one for which the family has products (`weightFormats`) */
  matrix(format: WeightFormat, shape: ProductShape, label: string): PackedMatrix {
    const { numInputs } = shape;
    const numOutputs = paddedOutputs(this.#gpu.family, panelled(this.#gpu, shape.numOutputs));
    const bytes = BYTES_PER_WEIGHT[format];
    const parts = cutOutputs(this.#gpu.pool, numOutputs, numInputs * bytes.value).map((part) => ({
      ...{
        ...part,
        numOutputs: Math.min(part.numOutputs, paddedOutputs(this.#gpu.family, shape.numOutputs) - part.firstOutput),
      },
      ...this.#values(format, numInputs, part.numOutputs, label),
    }));
    return { format, parts };
  }

  #values(format: WeightFormat, numInputs: number, numOutputs: number, label: string) {
    const count = numInputs * numOutputs;
    const bytes = BYTES_PER_WEIGHT[format];
    const deviation = numInputs ** -0.5;
    if (format === "f32" || format === "f16") {
      return { values: this.#floats(format, count * bytes.value, deviation, label) };
    }
    const values = this.#filled(count * bytes.value, label, "bytes", () => randomBytes(4 * PATTERN_WORDS));
    const scale = deviation / SPREAD[format];
    const [even, odd] = toHalf(Float32Array.of(scale, format === "q8" ? scale : -7.5 * scale));
    const scales = this.#filled(count * bytes.scale, `${label} scales`, `${format} scales ${scale}`, () =>
      Uint16Array.from({ length: 2 * PATTERN_WORDS }, (_, i) => (i % 2 === 0 ? even : odd) ?? 0),
    );
    return { values, scales };
  }

  /** Rows of the family's storage type, variance 1. */
  embedding(numRows: number, hiddenSize: number): EmbeddingTable {
    const { family, pool } = this.#gpu;
    const rowBytes = hiddenSize * storageBytes(family);
    return embeddingTable(pool, numRows, rowBytes, (_, count, label) =>
      this.#floats(family.storage, count * rowBytes, 1, label),
    );
  }

  /** Frees the patterns; matrices are their owners'. */
  close(): void {
    for (const pattern of this.#patterns.values()) this.#gpu.pool.destroy(pattern);
    this.#patterns.clear();
  }

  #floats(type: "f32" | "f16", bytes: number, deviation: number, label: string): GPUBuffer {
    return this.#filled(bytes, label, `${type} ${deviation}`, () => {
      const numValues = type === "f16" ? 2 * PATTERN_WORDS : PATTERN_WORDS;
      const values = randomValues(numValues, deviation / SPREAD.float);
      return type === "f16" ? toHalf(values) : values;
    });
  }

  #filled(bytes: number, label: string, key: string, makePattern: () => Pattern): GPUBuffer {
    const { device, pool } = this.#gpu;
    const pattern = this.#patterns.get(key) ?? pool.upload(makePattern(), `pattern ${key}`);
    this.#patterns.set(key, pattern);
    const buffer = pool.storage(bytes, label);
    const encoder = device.createCommandEncoder();
    for (let at = 0; at < buffer.size; at += 4 * PATTERN_WORDS) {
      encoder.copyBufferToBuffer(pattern, 0, buffer, at, Math.min(4 * PATTERN_WORDS, buffer.size - at));
    }
    device.queue.submit([encoder.finish()]);
    return buffer;
  }
}

/** Formats in which the context's family can hold weights. */
export function weightFormats({ family }: GpuContext): readonly WeightFormat[] {
  return family.name === "portable" ? [family.storage] : [family.storage, "q8", "q4"];
}

/** The portable family reads whole panels of 16 outputs. */
function panelled({ family }: GpuContext, numOutputs: number): number {
  return family.name === "portable" ? 16 * Math.ceil(numOutputs / 16) : numOutputs;
}
