import {
  type Binding,
  type CommitKv,
  commitFeatures,
  commitKv,
  type FeatureStore,
  featureStore,
  type GpuContext,
  kvLayout,
  kvSlotBytes,
  type OpContext,
  roundUp,
  storageBytes,
  submitPass,
} from "../../kernels/index.ts";
import { BLOCK_SIZE } from "../../kvcache/ids.ts";
import type { LlamaConfig } from "../model/types.ts";

/** One layer's caches, [numBlocks · 16] slots of the family's layout (`kvLayout`); keys are rotated. */
export interface LayerKv {
  readonly kCache: Exclude<Binding, GPUBuffer>;
  readonly vCache: Exclude<Binding, GPUBuffer>;
}

/** A copy of K and V from slot to slot. */
export interface SlotMove {
  readonly from: number;
  readonly to: number;
}

/** Of offsets of bindings. */
const OFFSET_UNIT = 256;

/** Layers that share a K buffer and a V buffer, so that one dispatch moves slots in all of them. */
interface LayerGroup {
  readonly kCache: GPUBuffer;
  readonly vCache: GPUBuffer;
  readonly numLayers: number;
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
    const layout = kvLayout(gpu.family, config);
    const numSlots = options.numBlocks * BLOCK_SIZE;
    const layerBytes = roundUp(numSlots * kvSlotBytes(gpu.family, config), OFFSET_UNIT);
    const groups = createGroups(gpu, config.numLayers, layerBytes);
    const layers = groups.flatMap(({ kCache, vCache, numLayers }) =>
      Array.from({ length: numLayers }, (_, i) => {
        const section = (buffer: GPUBuffer) => ({ buffer, offset: i * layerBytes, size: layerBytes });
        return { kCache: section(kCache), vCache: section(vCache) };
      }),
    );
    const moves = gpu.pool.storage(8 * options.maxMoves, "moves");
    const commits = await Promise.all(groups.map((group) => commitKv(gpu, { layout, layerBytes, moves, ...group })));
    const { maxMoves, featureSize } = options;
    if (featureSize === 0) return new KvStorage(gpu.device, layers, commits, moves, maxMoves, undefined);
    const buffer = gpu.pool.storage(numSlots * featureSize * storageBytes(gpu.family), "features");
    const features = featureStore(buffer, featureSize);
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
    if (moves.length === 0) return;
    if (moves.length > this.maxMoves) throw new RangeError(`${moves.length} moves, at most ${this.maxMoves}`);
    this.#device.queue.writeBuffer(this.moves, 0, Uint32Array.from(moves.flatMap(({ from, to }) => [from, to])));
    submitPass(this.#device, (pass) => this.encodeCommit(pass, 1, moves.length));
  }

  /** Encodes the moves that `moves` will hold by then: `numLists` lists, each in order, of `listLen` moves. */
  encodeCommit(pass: GPUComputePassEncoder, numLists: number, listLen: number): void {
    for (const commit of this.#commits) commit(pass, numLists, listLen);
  }
}

/** As few buffers as the adapter's limits allow. */
function createGroups({ pool }: GpuContext, numLayers: number, layerBytes: number): LayerGroup[] {
  const mostLayers = Math.max(1, Math.floor(pool.maxBytes / layerBytes));
  const groups: LayerGroup[] = [];
  for (let first = 0; first < numLayers; first += mostLayers) {
    const inGroup = Math.min(mostLayers, numLayers - first);
    const cache = (name: string) => pool.storage(inGroup * layerBytes, `${name}.${first}`);
    groups.push({ kCache: cache("kCache"), vCache: cache("vCache"), numLayers: inGroup });
  }
  return groups;
}

/** Bytes of one block over all layers. */
export function blockBytes(context: OpContext, config: LlamaConfig): number {
  return 2 * config.numLayers * boundBlockBytes(context, config);
}

/** Bytes of one block among the keys, or the values, of one layer: those are bound as one. */
export function boundBlockBytes(context: OpContext, config: LlamaConfig): number {
  return BLOCK_SIZE * kvSlotBytes(context.family, config);
}
