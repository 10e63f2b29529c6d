import { type Binding, type BufferPool, ROW_INFO_WORDS, SAMPLING_ROW_BYTES } from "../../kernels/index.ts";
import type { BatchBuilder, BatchLayout } from "./batch.ts";

/** What kernels read of a batch, all u32 but for `samplingRows`: sections of one buffer, filled by one write. */
export interface InputBuffers {
  /** [maxRows], identity[i] = i */
  readonly identity: Binding;
  /** [maxRows] */
  readonly tokenIds: Binding;
  /** [maxRows] */
  readonly slots: Binding;
  /** [maxRows, 4] */
  readonly rowInfo: Binding;
  /** [maxLogits]: the rows whose logits are wanted */
  readonly logitRows: Binding;
  /** SamplingRow [maxLogits] */
  readonly samplingRows: Binding;
  /** [maxTableWords]: block tables and paths of tree nodes */
  readonly tables: Binding;
}

export class Inputs {
  readonly buffers: InputBuffers;
  readonly layout: BatchLayout;
  /** Holds all sections but `identity`, at the layout's offsets. */
  readonly buffer: GPUBuffer;
  readonly #device: GPUDevice;

  constructor(device: GPUDevice, pool: BufferPool, layout: BatchLayout) {
    const { maxRows, maxLogits, maxTableWords } = layout;
    const buffer = pool.storage(layout.numBytes, "inputs");
    const section = (offset: number, size: number): Binding => ({ buffer, offset, size });
    this.#device = device;
    this.buffer = buffer;
    this.layout = layout;
    this.buffers = {
      identity: pool.upload(
        Uint32Array.from({ length: maxRows }, (_, i) => i),
        "identity",
      ),
      tokenIds: section(layout.tokenIds, 4 * maxRows),
      slots: section(layout.slots, 4 * maxRows),
      rowInfo: section(layout.rowInfo, 4 * ROW_INFO_WORDS * maxRows),
      logitRows: section(layout.logitRows, 4 * maxLogits),
      samplingRows: section(layout.samplingRows, SAMPLING_ROW_BYTES * maxLogits),
      tables: section(layout.tables, 4 * maxTableWords),
    };
  }

  write(batch: BatchBuilder): void {
    this.#device.queue.writeBuffer(this.buffer, 0, batch.bytes);
  }
}
