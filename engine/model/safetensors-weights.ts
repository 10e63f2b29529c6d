import { existsSync } from "node:fs";
import { join } from "node:path";
import { z } from "zod";
import type { WeightBlocks } from "../../kernels/index.ts";
import { ModelFileError } from "../errors.ts";
import { containedPath } from "./contained-path.ts";
import { checkSchema, MAX_TOKENIZER_BYTES, readJson } from "./json.ts";
import type { ModelFile } from "./model-file.ts";
import { openSafetensors, type SafetensorsFile } from "./safetensors.ts";
import { type IntegerExtent, readIntegers, readTensorF32, type TensorExtent } from "./tensor-data.ts";
import type { TensorInfo, WeightSource } from "./types.ts";

export const SINGLE_FILE = "model.safetensors";
export const INDEX_FILE = "model.safetensors.index.json";
const MAX_SHARDS = 4096;

interface PlacedTensor {
  readonly file: ModelFile;
  readonly extent: TensorExtent;
}

/** The tensors of a Hugging Face folder: one file, or shards that an index lists. */
export class SafetensorsWeights implements WeightSource {
  private constructor(
    private readonly folder: string,
    private readonly tensors: ReadonlyMap<string, PlacedTensor>,
    /** Every file, in the order of the index. */
    readonly files: readonly SafetensorsFile[],
  ) {}

  static isIn(folder: string): boolean {
    return existsSync(join(folder, SINGLE_FILE)) || existsSync(join(folder, INDEX_FILE));
  }

  /**
   * @param file the single file's name
   * @throws ModelFileError when a file is missing or damaged, or the index does not match the shards
   */
  static open(folder: string, file = SINGLE_FILE): SafetensorsWeights {
    const single = join(folder, file);
    if (existsSync(single) || !existsSync(join(folder, INDEX_FILE))) {
      const opened = openSafetensors(single);
      const tensors = [...opened.tensors].map(([name, extent]) => [name, { file: opened.file, extent }] as const);
      return new SafetensorsWeights(folder, new Map(tensors), [opened]);
    }
    return SafetensorsWeights.openShards(folder, join(folder, INDEX_FILE));
  }

  private static openShards(folder: string, indexPath: string): SafetensorsWeights {
    const schema = z.object({ weight_map: z.record(z.string(), z.string()) });
    const index = checkSchema(schema, readJson(indexPath, MAX_TOKENIZER_BYTES), indexPath);
    const weightMap = Object.entries(index.weight_map);
    const shardNames = new Set(weightMap.map(([, shard]) => shard));
    if (shardNames.size > MAX_SHARDS) {
      throw new ModelFileError("malformed", indexPath, `${shardNames.size} shards, the limit is ${MAX_SHARDS}`);
    }
    const shards = new Map<string, SafetensorsFile>();
    try {
      for (const name of shardNames) shards.set(name, openSafetensors(containedPath(folder, name, indexPath)));
      const isInteger = ([name, shard]: readonly [string, string]) => shards.get(shard)?.integers.has(name) === true;
      const tensors = weightMap
        .filter((entry) => !isInteger(entry))
        .map(([name, shard]) => {
          const opened = shards.get(shard);
          const extent = opened?.tensors.get(name);
          if (opened === undefined || extent === undefined) {
            throw new ModelFileError("malformed", indexPath, `tensor ${name} is not in ${shard}`);
          }
          return [name, { file: opened.file, extent }] as const;
        });
      return new SafetensorsWeights(folder, new Map(tensors), [...shards.values()]);
    } catch (error) {
      for (const { file } of shards.values()) file.close();
      throw error;
    }
  }

  names(): readonly string[] {
    return [...this.tensors.keys()];
  }

  has(name: string): boolean {
    return this.tensors.has(name);
  }

  info(name: string): TensorInfo {
    const { type, shape } = this.find(name).extent;
    return { name, type, shape };
  }

  readF32(name: string): Float32Array {
    const { file, extent } = this.find(name);
    return readTensorF32(file, extent);
  }

  readBlocks(name: string): WeightBlocks {
    return { format: "float", values: this.readF32(name), lowPrecision: false };
  }

  /** A tensor of integers or booleans; undefined where there is none of that name. @throws ModelFileError when the file is cut short */
  readIntegers(name: string): readonly number[] | undefined {
    for (const { file, integers } of this.files) {
      const extent: IntegerExtent | undefined = integers.get(name);
      if (extent !== undefined) return readIntegers(file, extent);
    }
    return undefined;
  }

  close(): void {
    for (const { file } of this.files) file.close();
  }

  private find(name: string): PlacedTensor {
    const tensor = this.tensors.get(name);
    if (tensor === undefined) throw new ModelFileError("malformed", this.folder, `no tensor ${name}`);
    return tensor;
  }
}
