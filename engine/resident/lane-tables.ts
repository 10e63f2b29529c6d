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

/** Words that are sent once more where they lie between new ones: 4 KiB of them cost the host less than a call does. */
const MAX_GAP = 1024;

/** Sends the block tables of lanes to the device: whole at first, later what has been added, in as few pieces as are worth it. */
export class LaneTables {
  readonly #device: GPUDevice;
  readonly #place: TablePlace;
  /** Live views, one a lane. */
  #tables: readonly (readonly number[])[] = [];
  /** Of each lane's table, words that the device has; −1 where none was sent yet. */
  readonly #numSent: number[] = [];
  /** As the device has them. */
  #words = new Uint32Array(0);

  constructor(device: GPUDevice, place: TablePlace) {
    this.#device = device;
    this.#place = place;
  }

  start(tables: readonly (readonly number[])[]): void {
    this.#tables = tables;
    for (const lane of tables.keys()) this.#numSent[lane] = -1;
    const numWords = tables.length * this.#place.tableWords;
    if (this.#words.length < numWords) this.#words = new Uint32Array(numWords);
  }

  /**
   * To be called before each submit: in the order of the queue, the words are there for its kernels.
   * @throws RangeError where a table has more blocks than there is room for
   */
  send(): void {
    const { tableWords } = this.#place;
    let [from, to] = [0, 0];
    for (const [lane, table] of this.#tables.entries()) {
      const before = this.#numSent[lane] ?? -1;
      const numSent = Math.max(0, before);
      // Rows that idle look at the first block: where a table has none, that is the reserved one.
      const length = before < 0 ? Math.max(1, table.length) : table.length;
      this.#numSent[lane] = table.length;
      if (length <= numSent) continue;
      if (table.length > tableWords) throw new RangeError(`a lane's table has at most ${tableWords} blocks`);
      const start = lane * tableWords;
      for (let i = numSent; i < length; i++) this.#words[start + i] = table[i] ?? 0;
      if (to === 0 || start + numSent - to > MAX_GAP) {
        this.#write(from, to);
        from = start + numSent;
      }
      to = start + length;
    }
    this.#write(from, to);
  }

  #write(from: number, to: number): void {
    const { buffer, tables } = this.#place;
    if (to > from) this.#device.queue.writeBuffer(buffer, tables + 4 * from, this.#words, from, to - from);
  }
}
