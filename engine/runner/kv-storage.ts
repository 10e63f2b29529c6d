import {
  type Binding,
  type CommitKv,
  commitFeatures,
  commitKv,
  type FeatureSection,
  type FeatureStore,
  type GpuContext,
  type HeadShape,
  type KvShard,
  kvLayout,
  kvSlotBytes,
  OFFSET_UNIT,
  type OpContext,
  roundUp,
  storageBytes,
  submitPass,
} from "../../kernels/index.ts";
import { BLOCK_SIZE, type SlotMove } from "../../kvcache/ids.ts";
import type { LlamaConfig } from "../model/types.ts";

/** Caches of one shard of a layer's heads, [numBlocks · 16] slots of the family's layout (`kvLayout`); keys are rotated. */
export interface LayerShard extends KvShard {
  readonly kCache: Exclude<Binding, GPUBuffer>;
  readonly vCache: Exclude<Binding, GPUBuffer>;
}

/** One layer's keys and values: in one shard, or in several of equal size where they are more than can be bound as one. */
export type LayerKv = readonly LayerShard[];

/** Shards that share a K buffer and a V buffer, each a section of them, so that one dispatch moves slots in all of them. */
interface SharedBuffers {
  readonly kCache: GPUBuffer;
  readonly vCache: GPUBuffer;
  readonly numSections: number;
}

/** The paged KV cache's memory, and the kernel that moves accepted tree nodes in it. */
export class KvStorage {
  readonly maxMoves: number;
  /** u32 [maxMoves, 2] of (from slot, to slot): what `encodeCommit` reads. */
  readonly moves: GPUBuffer;
  /** Beside K and V, where drafters need them: they move with them. */
  readonly features: FeatureStore | undefined;
  readonly #layers: readonly LayerKv[];
  readonly #commits: readonly CommitKv[];
  readonly #device: GPUDevice;

  private constructor(
    device: GPUDevice,
    layers: readonly LayerKv[],
    commits: readonly CommitKv[],
    moves: GPUBuffer,
    maxMoves: number,
    features: FeatureStore | undefined,
  ) {
    this.#device = device;
    this.#layers = layers;
    this.#commits = commits;
    this.moves = moves;
    this.maxMoves = maxMoves;
    this.features = features;
  }

  static async create(
    gpu: GpuContext,
    config: LlamaConfig,
    options: { numBlocks: number; maxMoves: number; featureSize: number },
  ): Promise<KvStorage> {
    const { numLayers, headDim } = config;
    const numSlots = options.numBlocks * BLOCK_SIZE;
    const numShards = chooseShards(gpu, config, numSlots);
    const heads = { numKvHeads: config.numKvHeads / numShards, headDim };
    const layout = kvLayout(gpu.family, heads);
    const sectionBytes = shardBytes(gpu, heads, numSlots);
    const buffers = createBuffers(gpu, numLayers * numShards, sectionBytes);
    const shards = buffers.flatMap(({ kCache, vCache, numSections }) =>
      Array.from({ length: numSections }, (_, i) => {
        const section = (buffer: GPUBuffer) => ({ buffer, offset: i * sectionBytes, size: sectionBytes });
        return { kCache: section(kCache), vCache: section(vCache) };
      }),
    );
    const layers = Array.from({ length: numLayers }, (_, i) => shards.slice(i * numShards, (i + 1) * numShards));
    const moves = gpu.pool.storage(8 * options.maxMoves, "moves");
    const commits = await Promise.all(buffers.map((both) => commitKv(gpu, { layout, sectionBytes, moves, ...both })));
    const { maxMoves, featureSize } = options;
    if (featureSize === 0) return new KvStorage(gpu.device, layers, commits, moves, maxMoves, undefined);
    const features = { sections: createSections(gpu, numSlots, featureSize), offset: 0, size: featureSize };
    const all = [...commits, await commitFeatures(gpu, moves, features)];
    return new KvStorage(gpu.device, layers, all, moves, maxMoves, features);
  }

  layer(index: number): LayerKv {
    const layer = this.#layers[index];
    if (layer === undefined) throw new RangeError(`no layer ${index}`);
    return layer;
  }

  /** Encodes and submits the moves, in order, in every layer. A sequence's moves must be in ascending depth. */
  commit(moves: readonly SlotMove[]): void {
    for (let first = 0; first < moves.length; first += this.maxMoves) {
      const some = moves.slice(first, first + this.maxMoves);
      this.#device.queue.writeBuffer(this.moves, 0, Uint32Array.from(some.flatMap(({ from, to }) => [from, to])));
      submitPass(this.#device, (pass) => this.encodeCommit(pass, 1, some.length));
    }
  }

  /** Encodes the moves that `moves` will hold by then: `numLists` lists, each in order, of `listLen` moves. */
  encodeCommit(pass: GPUComputePassEncoder, numLists: number, listLen: number): void {
    for (const commit of this.#commits) commit(pass, numLists, listLen);
  }
}

/** The fewest shards of a layer's heads that can be bound; where not even one head can, the pool says so. */
function chooseShards(context: GpuContext, { numKvHeads, headDim }: LlamaConfig, numSlots: number): number {
  for (let numShards = 1; numShards < numKvHeads; numShards++) {
    if (numKvHeads % numShards > 0) continue;
    const heads = { numKvHeads: numKvHeads / numShards, headDim };
    if (shardBytes(context, heads, numSlots) <= context.pool.maxBytes) return numShards;
  }
  return numKvHeads;
}

/** Bytes of the keys, or the values, of some heads, up to where another shard may begin. */
function shardBytes({ family }: OpContext, heads: Pick<HeadShape, "numKvHeads" | "headDim">, numSlots: number): number {
  return roundUp(numSlots * kvSlotBytes(family, heads), OFFSET_UNIT);
}

/** As few buffers as the adapter's limits allow. */
function createBuffers({ pool }: GpuContext, numSections: number, sectionBytes: number): SharedBuffers[] {
  const mostSections = Math.max(1, Math.floor(pool.maxBytes / sectionBytes));
  const buffers: SharedBuffers[] = [];
  for (let first = 0; first < numSections; first += mostSections) {
    const inBuffer = Math.min(mostSections, numSections - first);
    const cache = (name: string) => pool.storage(inBuffer * sectionBytes, `${name}.${first}`);
    buffers.push({ kCache: cache("kCache"), vCache: cache("vCache"), numSections: inBuffer });
  }
  return buffers;
}

/** Buffers for `size` features of every slot: as few as the adapter's limits allow, of equal width but for the last. */
function createSections({ family, pool }: GpuContext, numSlots: number, size: number): FeatureSection[] {
  const vectorBytes = 4 * numSlots * storageBytes(family);
  const mostVectors = Math.max(1, Math.floor(pool.maxBytes / vectorBytes));
  const numVectors = size / 4;
  const width = Math.ceil(numVectors / Math.ceil(numVectors / mostVectors));
  const sections: FeatureSection[] = [];
  for (let first = 0; first < numVectors; first += width) {
    const vectors = Math.min(width, numVectors - first);
    sections.push({ buffer: pool.storage(vectors * vectorBytes, `features.${4 * first}`), width: 4 * vectors });
  }
  return sections;
}

/** Bytes of one block over all layers. */
export function blockBytes({ family }: OpContext, config: LlamaConfig): number {
  return 2 * config.numLayers * BLOCK_SIZE * kvSlotBytes(family, config);
}

/** Bytes of one block among the keys, or the values, of one head of a layer: the least that is bound as one. */
export function boundBlockBytes({ family }: OpContext, { headDim }: LlamaConfig): number {
  return BLOCK_SIZE * kvSlotBytes(family, { numKvHeads: 1, headDim });
}
