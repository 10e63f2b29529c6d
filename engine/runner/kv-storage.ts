import { type CommitKv, commitKv, type GpuContext, type OpContext, storageBytes } from "../../kernels/index.ts";
import { BLOCK_SIZE } from "../../kvcache/ids.ts";
import type { LlamaConfig } from "../model/types.ts";

/** One layer's caches, storage type [numBlocks · 16, numKvHeads, headDim]; keys are rotated. */
export interface LayerKv {
  readonly kCache: GPUBuffer;
  readonly vCache: GPUBuffer;
}

/** A copy of K and V from slot to slot. */
export interface SlotMove {
  readonly from: number;
  readonly to: number;
}

/** The paged KV cache's memory, two buffers a layer, and the kernel that moves accepted tree nodes in it. */
export class KvStorage {
  readonly maxMoves: number;
  readonly #layers: readonly LayerKv[];
  readonly #commits: readonly CommitKv[];
  readonly #moves: GPUBuffer;
  readonly #device: GPUDevice;

  private constructor(
    device: GPUDevice,
    layers: readonly LayerKv[],
    commits: readonly CommitKv[],
    moves: GPUBuffer,
    maxMoves: number,
  ) {
    this.#device = device;
    this.#layers = layers;
    this.#commits = commits;
    this.#moves = moves;
    this.maxMoves = maxMoves;
  }

  static async create(
    gpu: GpuContext,
    config: LlamaConfig,
    options: { numBlocks: number; maxMoves: number },
  ): Promise<KvStorage> {
    const slotSize = config.numKvHeads * config.headDim;
    const bytes = options.numBlocks * BLOCK_SIZE * slotSize * storageBytes(gpu.family);
    const layers = Array.from({ length: config.numLayers }, (_, layer) => ({
      kCache: gpu.pool.storage(bytes, `kCache.${layer}`),
      vCache: gpu.pool.storage(bytes, `vCache.${layer}`),
    }));
    const moves = gpu.pool.storage(8 * options.maxMoves, "moves");
    const commits = await Promise.all(layers.map((layer) => commitKv(gpu, { slotSize, moves, ...layer })));
    return new KvStorage(gpu.device, layers, commits, moves, options.maxMoves);
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
    this.#device.queue.writeBuffer(this.#moves, 0, Uint32Array.from(moves.flatMap(({ from, to }) => [from, to])));
    const encoder = this.#device.createCommandEncoder();
    const pass = encoder.beginComputePass();
    for (const commit of this.#commits) commit(pass, moves.length);
    pass.end();
    this.#device.queue.submit([encoder.finish()]);
  }
}

/** Bytes of one block over all layers. */
export function blockBytes(context: OpContext, config: LlamaConfig): number {
  return 2 * config.numLayers * BLOCK_SIZE * config.numKvHeads * config.headDim * storageBytes(context.family);
}
