import { type BufferPool, readMapped } from "../../kernels/index.ts";

/** Buffers that steps' results are copied to and read from in turn, so that a step need not wait for the one before it. */
export class ReadbackRing {
  readonly #slots: readonly GPUBuffer[];
  #next = 0;

  constructor(pool: BufferPool, numSlots: number, bytes: number) {
    this.#slots = Array.from({ length: numSlots }, (_, i) => pool.readback(bytes, `step.${i}`));
  }

  /** The next slot's number; its result of `numSlots` steps ago must have been read. */
  take(): number {
    const slot = this.#next;
    this.#next = (slot + 1) % this.#slots.length;
    return slot;
  }

  encodeCopy(encoder: GPUCommandEncoder, slot: number, source: GPUBuffer, bytes: number): void {
    encoder.copyBufferToBuffer(source, 0, this.#slot(slot), 0, bytes);
  }

  /** Its first `bytes` bytes, once the work that was submitted for it has ended. */
  read(slot: number, bytes: number): Promise<ArrayBuffer> {
    return readMapped(this.#slot(slot), bytes);
  }

  #slot(slot: number): GPUBuffer {
    const buffer = this.#slots[slot];
    if (buffer === undefined) throw new RangeError(`no slot ${slot}`);
    return buffer;
  }
}
