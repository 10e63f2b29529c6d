import type { WeightBlocks } from "../../../kernels/index.ts";
import { ModelFileError } from "../../errors.ts";
import { readTensorBlocks } from "../tensor-blocks.ts";
import { readTensorF32, type TensorExtent } from "../tensor-data.ts";
import type { TensorInfo, WeightSource } from "../types.ts";
import type { GgufFile } from "./gguf-file.ts";
import { type TranslatedName, translateName } from "./tensor-names.ts";

/** Not a weight: divisors of the rotary frequencies, which the configuration carries. */
export const ROPE_FREQS = "rope_freqs.weight";

type RowArray = Float32Array | Int8Array | Uint8Array;

interface NamedTensor {
  readonly extent: TensorExtent;
  readonly rotary: TranslatedName["rotary"];
}

/** A GGUF file's tensors under Hugging Face's names and in Hugging Face's row order. */
export class GgufWeights implements WeightSource {
  private readonly tensors = new Map<string, NamedTensor>();

  /**
   * Takes over the file: `close` closes it.
   * @throws ModelFileError unsupported when a tensor has no counterpart: leaving it out would change the text.
   */
  constructor(
    private readonly gguf: GgufFile,
    private readonly heads: { readonly numHeads: number; readonly numKvHeads: number },
  ) {
    for (const extent of gguf.tensors.values()) {
      if (extent.name === ROPE_FREQS) continue;
      const translated = translateName(extent.name);
      if (translated === undefined) {
        throw gguf.file.error("unsupported", `tensor ${extent.name}`, extent.offset, "unknown in a llama model");
      }
      this.tensors.set(translated.name, { extent, rotary: translated.rotary });
    }
  }

  names(): readonly string[] {
    return [...this.tensors.keys()];
  }

  has(name: string): boolean {
    return this.tensors.has(name);
  }

  info(name: string): TensorInfo {
    const { extent } = this.find(name);
    return { name, type: extent.type, shape: extent.shape };
  }

  readF32(name: string): Float32Array {
    const tensor = this.find(name);
    const values = readTensorF32(this.gguf.file, tensor.extent);
    return this.rowOrder(tensor)?.(values) ?? values;
  }

  readBlocks(name: string): WeightBlocks {
    const tensor = this.find(name);
    const blocks = readTensorBlocks(this.gguf.file, tensor.extent);
    const reorder = this.rowOrder(tensor);
    if (reorder === undefined) return blocks;
    if (blocks.format === "float") return { ...blocks, values: reorder(blocks.values) };
    const scales = reorder(blocks.scales);
    if (blocks.format === "q8") return { ...blocks, quants: reorder(blocks.quants), scales };
    return { ...blocks, quants: reorder(blocks.quants), scales, minimums: reorder(blocks.minimums) };
  }

  /** What puts rows into Hugging Face's order, where they are not. */
  private rowOrder({ extent, rotary }: NamedTensor): (<T extends RowArray>(values: T) => T) | undefined {
    if (rotary === undefined) return undefined;
    const numHeads = rotary === "query" ? this.heads.numHeads : this.heads.numKvHeads;
    const [numRows = 0] = extent.shape;
    if (numRows % (2 * numHeads) !== 0) {
      const problem = `${numRows} rows do not divide into ${numHeads} heads of even size`;
      throw this.gguf.file.error("malformed", `tensor ${extent.name}`, extent.offset, problem);
    }
    return (values) => interleavedToHalves(values, numHeads, numRows / numHeads);
  }

  close(): void {
    this.gguf.file.close();
  }

  private find(name: string): NamedTensor {
    const tensor = this.tensors.get(name);
    if (tensor === undefined) throw new ModelFileError("malformed", this.gguf.file.path, `no tensor ${name}`);
    return tensor;
  }
}

/**
 * Reorders the rows of each head from GGUF's rotary order, where rows 2j and 2j + 1 make a pair, to Hugging Face's,
 * where rows j and j + headDim / 2 do. `values` [numHeads · headDim, columns].
 */
export function interleavedToHalves<T extends RowArray>(values: T, numHeads: number, headDim: number): T {
  const out = values.slice() as T;
  const columns = values.length / (numHeads * headDim);
  for (let head = 0; head < numHeads; head++) {
    for (let row = 0; row < headDim; row++) {
      const target = head * headDim + (row % 2) * (headDim / 2) + (row >> 1);
      const source = head * headDim + row;
      out.set(values.subarray(source * columns, (source + 1) * columns), target * columns);
    }
  }
  return out;
}
