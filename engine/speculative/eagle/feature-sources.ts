import { type GpuContext, OWN_FEATURE } from "../../../kernels/index.ts";
import { slotAt } from "../../runner/batch.ts";
import type { ViewedRows } from "../draft-view.ts";

/**
 * Which feature each row of a pass reads: a known token the target's, of the position before the token; a draft node the
 * drafter's own, of the node's parent.
 */
export class FeatureSources {
  /** u32 [maxRows]: slots of the target's cache, or with OWN_FEATURE of the drafter's */
  readonly buffer: GPUBuffer;
  readonly #device: GPUDevice;
  readonly #words: Uint32Array<ArrayBuffer>;

  constructor({ device, pool }: GpuContext, maxRows: number) {
    this.#device = device;
    this.#words = new Uint32Array(maxRows);
    this.buffer = pool.storage(this.#words.byteLength, "featureSources");
  }

  /** @throws RangeError where the target's table does not reach as far as it has computed */
  write(batch: readonly ViewedRows[]): void {
    let row = 0;
    for (const { request, rows } of batch) {
      const { startPosition, numTokens, rootPosition, blockTable, tree } = rows;
      for (let position = startPosition; position < startPosition + numTokens; position++) {
        this.#words[row++] = slotAt(request.target.blockTable, position);
      }
      for (let node = tree?.firstNode ?? 0; node < (tree?.tokenIds.length ?? 0); node++) {
        const slot = slotAt(blockTable, rootPosition + (tree?.parents[node] ?? 0));
        this.#words[row++] = (slot | OWN_FEATURE) >>> 0;
      }
    }
    this.#device.queue.writeBuffer(this.buffer, 0, this.#words, 0, row);
  }
}
