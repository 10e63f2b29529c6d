import type { LaneBatch } from "../../kernels/index.ts";
import { BLOCK_SIZE } from "../../kvcache/ids.ts";
import type { Inputs } from "../runner/inputs.ts";

/** How many lanes there are, and what the tables of a batch hold for each. */
export interface LaneTableSizes {
  readonly maxLanes: number;
  /** Blocks of the longest table. */
  readonly tableWords: number;
  /** Rows of a pass that may have a path, of `maxPath` slots at most. */
  readonly maxRows: number;
  readonly maxPath: number;
}

/**
 * How lanes use the inputs of a runner: their block tables come first, then rows' paths.
 * @throws RangeError when the inputs' tables do not hold that much
 */
export function laneBatch(
  { buffer, layout }: Inputs,
  { maxLanes, tableWords, maxRows, maxPath }: LaneTableSizes,
): LaneBatch {
  const paths = maxLanes * tableWords;
  const numWords = paths + maxRows * maxPath;
  if (numWords > layout.maxTableWords) {
    throw new RangeError(`lanes need ${numWords} table words, a batch has ${layout.maxTableWords}`);
  }
  return { ...layout, buffer, tableWords, paths, maxPath, blockSize: BLOCK_SIZE };
}

/** Where tables are sent: lane l's begins l · tableWords words behind `tables` (bytes). */
type TablePlace = Pick<LaneBatch, "buffer" | "tables" | "tableWords">;

/** Sends the block tables of lanes to the device: whole at first, later only what has been added. */
export class LaneTables {
  readonly #device: GPUDevice;
  readonly #place: TablePlace;
  /** Live views, one a lane. */
  #tables: readonly (readonly number[])[] = [];
  readonly #numSent: number[] = [];

  constructor(device: GPUDevice, place: TablePlace) {
    this.#device = device;
    this.#place = place;
  }

  start(tables: readonly (readonly number[])[]): void {
    this.#tables = tables;
    for (const lane of tables.keys()) this.#numSent[lane] = 0;
  }

  /** To be called before each submit: in the order of the queue, the words are there for its kernels. */
  send(): void {
    const { buffer, tables, tableWords } = this.#place;
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
