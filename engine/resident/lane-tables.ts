import type { LaneBatch } from "../../kernels/index.ts";
import { BLOCK_SIZE } from "../../kvcache/ids.ts";
import type { Inputs } from "../runner/inputs.ts";

/** Sends the block tables of lanes to a runner's inputs: whole at first, later only what has been added. */
export class LaneTables {
  readonly batch: LaneBatch;
  readonly #device: GPUDevice;
  /** Live views, one a lane. */
  #tables: readonly (readonly number[])[] = [];
  readonly #numSent: number[] = [];

  /** @param tableWords blocks of the longest table; @param maxPath slots of the longest path */
  constructor(device: GPUDevice, inputs: Inputs, maxLanes: number, tableWords: number, maxPath: number) {
    const { buffer, layout } = inputs;
    this.#device = device;
    this.batch = { ...layout, buffer, tableWords, paths: maxLanes * tableWords, maxPath, blockSize: BLOCK_SIZE };
  }

  start(tables: readonly (readonly number[])[]): void {
    this.#tables = tables;
    for (const lane of tables.keys()) this.#numSent[lane] = 0;
  }

  /** To be called before each submit: in the order of the queue, the words are there for its kernels. */
  send(): void {
    const { buffer, tables, tableWords } = this.batch;
    for (const [lane, table] of this.#tables.entries()) {
      const numSent = this.#numSent[lane] ?? 0;
      if (table.length === numSent) continue;
      if (table.length > tableWords) throw new RangeError(`a lane's table has at most ${tableWords} blocks`);
      const at = tables + 4 * (lane * tableWords + numSent);
      this.#device.queue.writeBuffer(buffer, at, Uint32Array.from(table.slice(numSent)));
      this.#numSent[lane] = table.length;
    }
  }
}
