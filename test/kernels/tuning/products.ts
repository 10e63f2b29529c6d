import type { KernelFamily, ModelProduct } from "../../../kernels/index.ts";
import type { ProductTimer, Variant } from "../../../kernels/tuning/search.ts";

export const MATRIX: KernelFamily = { name: "matrix", storage: "f16", rowTiles: [8, 16, 32, 64], splitSize: 256 };

/** A product of three layers whose buffers nobody looks at. */
export function productOf(numInputs: number, numOutputs: number, whole = false): ModelProduct {
  const matrix = { format: "q8", parts: [{ values: {} as GPUBuffer, firstOutput: 0, numOutputs }] } as const;
  return { shape: { numInputs, numOutputs }, whole, matrices: [matrix, matrix, matrix] };
}

export const PRODUCTS = [productOf(2048, 3072), productOf(8192, 2048), productOf(2048, 4096, true)];

/** Answers by a formula, and remembers what it was asked. */
export class FakeTimer implements ProductTimer {
  readonly asked: { readonly product: ModelProduct; readonly variants: readonly Variant[] }[] = [];
  readonly #timeOf: (product: ModelProduct, variant: Variant) => number;

  constructor(timeOf: (product: ModelProduct, variant: Variant) => number) {
    this.#timeOf = timeOf;
  }

  async time(product: ModelProduct, variants: readonly Variant[]): Promise<readonly number[]> {
    this.asked.push({ product, variants });
    return variants.map((variant) => this.#timeOf(product, variant));
  }
}
