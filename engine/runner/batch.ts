import {
  type BatchSections,
  type LogitsProcessor,
  OFFSET_UNIT,
  ROW_INFO_WORDS,
  roundUp,
  SAMPLING_ROW_BYTES,
  type SamplingRow,
  writeSamplingRow,
} from "../../kernels/index.ts";
import { BLOCK_SIZE } from "../../kvcache/ids.ts";
import type { SamplingParams } from "../sampling-params.ts";

/** Nodes below a root: the parts of a draft tree that become rows. Node 0 is the root, parents come before children. */
export interface TreeRows {
  readonly tokenIds: readonly number[];
  readonly parents: readonly number[];
  readonly depths: readonly number[];
  /** First node that gets a row and, if it samples, logits. The ones before it have K/V in their slots already. */
  readonly firstNode: number;
}

/** One sequence's rows of a pass: a chunk of known tokens, then nodes of a draft tree below the last known one. */
export interface BatchSequence {
  /** Known tokens; the chunk is `startPosition … startPosition + numTokens − 1`. */
  readonly tokenIds: readonly number[];
  /** The row at position p holds token p + shift; 0 where it is left out, as drafters alone have one (EAGLE). */
  readonly shift?: number;
  readonly startPosition: number;
  /** May be 0 where only tree nodes are computed. */
  readonly numTokens: number;
  /** Blocks for every known position and for the tree's slots: node i ≥ 1 goes to slot `rootPosition + i`. */
  readonly blockTable: readonly number[];
  /** Position of the tree's root. */
  readonly rootPosition: number;
  readonly tree?: TreeRows;
  /** Draw a successor of the chunk's last token (if the chunk has any) and of each of the tree's rows. */
  readonly sampling?: RowSampling;
}

export interface RowSampling {
  readonly params: SamplingParams;
  readonly choice: number;
  /** What the rows' logits go through first. */
  readonly processor?: LogitsProcessor | undefined;
}

/**
 * Where the batch's arrays lie in one block of memory. Offsets are multiples of 256, as bindings need them; the tables come last,
 * so that only their words in use need to be sent.
 */
export interface BatchLayout extends BatchSections {
  readonly maxRows: number;
  readonly maxLogits: number;
  readonly maxTableWords: number;
  readonly numBytes: number;
}

export function batchLayout(maxRows: number, maxLogits: number, maxTableWords: number): BatchLayout {
  let end = 0;
  const section = (bytes: number) => {
    const at = end;
    end += roundUp(bytes, OFFSET_UNIT);
    return at;
  };
  return {
    ...{ maxRows, maxLogits, maxTableWords },
    tokenIds: section(4 * maxRows),
    slots: section(4 * maxRows),
    rowInfo: section(4 * ROW_INFO_WORDS * maxRows),
    logitRows: section(4 * maxLogits),
    samplingRows: section(SAMPLING_ROW_BYTES * maxLogits),
    tables: section(4 * maxTableWords),
    numBytes: end,
  };
}

/** Writes sequences' rows into the arrays that kernels read. Pure but for its own memory, which is reused. */
export class BatchBuilder {
  readonly #layout: BatchLayout;
  readonly #bytes: ArrayBuffer;
  readonly #view: DataView;
  readonly #tokenIds: Uint32Array;
  readonly #slots: Uint32Array;
  readonly #rowInfo: Uint32Array;
  readonly #logitRows: Uint32Array;
  readonly #tables: Uint32Array;
  #numRows = 0;
  #numLogits = 0;
  #numTableWords = 0;
  #maxPosition = 0;
  #processors: LogitsProcessor[] = [];

  constructor(layout: BatchLayout) {
    this.#layout = layout;
    this.#bytes = new ArrayBuffer(layout.numBytes);
    this.#view = new DataView(this.#bytes, layout.samplingRows);
    const words = (at: number, count: number) => new Uint32Array(this.#bytes, at, count);
    this.#tokenIds = words(layout.tokenIds, layout.maxRows);
    this.#slots = words(layout.slots, layout.maxRows);
    this.#rowInfo = words(layout.rowInfo, layout.maxRows * ROW_INFO_WORDS);
    this.#logitRows = words(layout.logitRows, layout.maxLogits);
    this.#tables = words(layout.tables, layout.maxTableWords);
  }

  get numRows(): number {
    return this.#numRows;
  }

  get numLogits(): number {
    return this.#numLogits;
  }

  /** Highest position of any row. */
  get maxPosition(): number {
    return this.#maxPosition;
  }

  /** Of the sequences that have one, by the number in their sampling rows. */
  get processors(): readonly LogitsProcessor[] {
    return this.#processors;
  }

  /** What the device needs: everything up to the last table word in use. */
  get bytes(): Uint8Array<ArrayBuffer> {
    return new Uint8Array(this.#bytes, 0, this.#layout.tables + 4 * this.#numTableWords);
  }

  reset(): void {
    this.#numRows = 0;
    this.#numLogits = 0;
    this.#numTableWords = 0;
    this.#maxPosition = 0;
    this.#processors = [];
  }

  /** @throws RangeError when the batch outgrows the layout: the caller's plan was wrong. */
  add(sequence: BatchSequence): void {
    const { tokenIds, shift = 0, startPosition, numTokens, blockTable, sampling, tree } = sequence;
    if (sampling?.processor) this.#processors.push(sampling.processor);
    const table = this.#pushWords(blockTable);
    for (let position = startPosition; position < startPosition + numTokens; position++) {
      const slot = slotAt(blockTable, position);
      this.#addRow(tokenIds[position + shift] ?? 0, slot, [table, position, position + 1, 0]);
    }
    if (numTokens > 0 && sampling) this.#addLogits(sampling, startPosition + numTokens + shift);
    if (tree) this.#addTree(sequence, tree, table);
  }

  /** Each node reads the known positions through the block table, and its own path, itself last, from a list: node i is tree key i − 1. */
  #addTree({ blockTable, rootPosition, shift = 0, sampling }: BatchSequence, tree: TreeRows, table: number): void {
    const numKnown = rootPosition + 1;
    for (let node = tree.firstNode; node < tree.tokenIds.length; node++) {
      const depth = tree.depths[node] ?? 0;
      const path = new Array<number>(depth);
      for (let i = node, d = depth - 1; d >= 0; i = tree.parents[i] ?? 0, d--) {
        path[d] = i - 1;
      }
      const pathOffset = this.#pushWords(path);
      const position = rootPosition + depth;
      const slot = slotAt(blockTable, rootPosition + node);
      this.#addRow(tree.tokenIds[node] ?? 0, slot, [table, position, numKnown, pathOffset]);
      if (sampling) this.#addLogits(sampling, position + 1 + shift);
    }
  }

  #addRow(tokenId: number, slot: number, info: readonly [number, number, number, number]): void {
    const row = this.#numRows++;
    if (row >= this.#layout.maxRows) throw new RangeError(`a batch has at most ${this.#layout.maxRows} rows`);
    this.#tokenIds[row] = tokenId;
    this.#slots[row] = slot;
    this.#rowInfo.set(info, row * ROW_INFO_WORDS);
    this.#maxPosition = Math.max(this.#maxPosition, info[1]);
  }

  /** The last row's logits are wanted, to draw the token at `position`. */
  #addLogits({ params, choice, processor }: RowSampling, position: number): void {
    const index = this.#numLogits++;
    if (index >= this.#layout.maxLogits) throw new RangeError(`a batch has at most ${this.#layout.maxLogits} samples`);
    this.#logitRows[index] = this.#numRows - 1;
    // It is the one that `add` took in last.
    const place = processor ? { processor: this.#processors.length - 1 } : {};
    writeSamplingRow(this.#view, index, { ...samplingRowOf(params, choice, position), ...place });
  }

  #pushWords(words: readonly number[]): number {
    const at = this.#numTableWords;
    if (at + words.length > this.#layout.maxTableWords) {
      throw new RangeError(`a batch has at most ${this.#layout.maxTableWords} table words`);
    }
    this.#tables.set(words, at);
    this.#numTableWords += words.length;
    return at;
  }
}

/** How the token at `position` is drawn. */
export function samplingRowOf(params: SamplingParams, choice: number, position: number): SamplingRow {
  const { seed, temperature, topP, minP, topK, typicalP } = params;
  return { seed, choice, position, temperature, topP, minP, topK, typicalP };
}

/** Where slot `index` of a block table lies. @throws RangeError beyond the table */
export function slotAt(blockTable: readonly number[], index: number): number {
  const block = blockTable[Math.floor(index / BLOCK_SIZE)];
  if (block === undefined) throw new RangeError(`slot ${index} lies beyond a table of ${blockTable.length} blocks`);
  return block * BLOCK_SIZE + (index % BLOCK_SIZE);
}
