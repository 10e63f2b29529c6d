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

  /**
   * @param tableWords blocks of the longest table
   * @param maxRows rows of a pass that may have a path, of `maxPath` slots at most
   * @throws RangeError when the inputs' tables do not hold that much
   */
  constructor(
    device: GPUDevice,
    inputs: Inputs,
    sizes: {
      readonly maxLanes: number;
      readonly tableWords: number;
      readonly maxRows: number;
      readonly maxPath: number;
    },
  ) {
    const { buffer, layout } = inputs;
    const { maxLanes, tableWords, maxRows, maxPath } = sizes;
    const paths = maxLanes * tableWords;
    const numWords = paths + maxRows * maxPath;
    if (numWords > layout.maxTableWords) {
      throw new RangeError(`lanes need ${numWords} table words, a batch has ${layout.maxTableWords}`);
    }
    this.#device = device;
    this.batch = { ...layout, buffer, tableWords, paths, maxPath, blockSize: BLOCK_SIZE };
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
