import { type Binding, type GpuContext, ROW_INFO_WORDS } from "../../../kernels/index.ts";
import { BLOCK_SIZE } from "../../../kvcache/ids.ts";
import type { ViewedRows } from "../draft-view.ts";

/**
 * What the cross-attention of a pass reads: for each row the target's computed tokens, through the target's own block
 * table. Nothing is copied but the tables.
 */
export class CrossInputs {
  /** u32 [maxRows, 4] and the tables that it points into, as of any attention (wgsl/attention_rows.wgsl). */
  readonly rowInfo: Binding;
  readonly tables: Exclude<Binding, GPUBuffer>;
  readonly #device: GPUDevice;
  readonly #buffer: GPUBuffer;
  readonly #words: Uint32Array<ArrayBuffer>;
  /** Where the tables begin, in words. */
  readonly #tablesAt: number;

  constructor({ device, pool }: GpuContext, { maxRows, maxTableWords }: { maxRows: number; maxTableWords: number }) {
    const infoBytes = Math.ceil((4 * ROW_INFO_WORDS * maxRows) / 256) * 256;
    this.#device = device;
    this.#tablesAt = infoBytes / 4;
    this.#words = new Uint32Array(this.#tablesAt + maxTableWords);
    this.#buffer = pool.storage(this.#words.byteLength, "crossInputs");
    this.rowInfo = { buffer: this.#buffer, offset: 0, size: infoBytes };
    this.tables = { buffer: this.#buffer, offset: infoBytes, size: 4 * maxTableWords };
  }

  /**
   * Rows of a sequence of which the target has computed nothing look at the first slot of the reserved block: nothing is
   * drafted from them, and their K and V do not depend on it.
   * @throws RangeError where the tables have no room
   */
  write(batch: readonly ViewedRows[]): void {
    let row = 0;
    // Word 0 is a table of the reserved block.
    let numTableWords = 1;
    this.#words[this.#tablesAt] = 0;
    for (const { request, rows } of batch) {
      const { blockTable, numComputedTokens } = request.target;
      const blocks = blockTable.slice(0, Math.ceil(numComputedTokens / BLOCK_SIZE));
      if (this.#tablesAt + numTableWords + blocks.length > this.#words.length) {
        throw new RangeError("the target's block tables have no room in the cross-attention's");
      }
      const numKeys = Math.max(1, numComputedTokens);
      const info = [blocks.length > 0 ? numTableWords : 0, numKeys - 1, numKeys, 0];
      this.#words.set(blocks, this.#tablesAt + numTableWords);
      numTableWords += blocks.length;
      const numRows = rows.numTokens + (rows.tree ? rows.tree.tokenIds.length - rows.tree.firstNode : 0);
      for (let i = 0; i < numRows; i++) this.#words.set(info, ROW_INFO_WORDS * row++);
    }
    this.#device.queue.writeBuffer(this.#buffer, 0, this.#words, 0, this.#tablesAt + numTableWords);
  }
}
