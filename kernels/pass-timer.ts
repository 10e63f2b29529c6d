import { type BufferPool, readMapped } from "./buffers.ts";

const BYTES_PER_TIMESTAMP = 8;

/** Measures how long the device takes for each of a fixed number of compute passes (feature timestamp-query). */
export class PassTimer {
  readonly #querySet: GPUQuerySet;
  readonly #resolved: GPUBuffer;
  readonly #mapped: GPUBuffer;
  readonly #numPasses: number;
  readonly #pool: BufferPool;

  constructor(device: GPUDevice, pool: BufferPool, numPasses: number) {
    const bytes = 2 * numPasses * BYTES_PER_TIMESTAMP;
    this.#numPasses = numPasses;
    this.#pool = pool;
    this.#querySet = device.createQuerySet({ type: "timestamp", count: 2 * numPasses });
    this.#resolved = pool.queryResults(bytes, "timestamps");
    this.#mapped = pool.readback(bytes, "timestampsRead");
  }

  /** For the descriptor of the pass with this index. */
  writes(pass: number): GPUComputePassTimestampWrites {
    return {
      querySet: this.#querySet,
      beginningOfPassWriteIndex: 2 * pass,
      endOfPassWriteIndex: 2 * pass + 1,
    };
  }

  /** To be encoded after the last pass. */
  resolve(encoder: GPUCommandEncoder): void {
    encoder.resolveQuerySet(this.#querySet, 0, 2 * this.#numPasses, this.#resolved, 0);
    encoder.copyBufferToBuffer(this.#resolved, 0, this.#mapped, 0, 2 * this.#numPasses * BYTES_PER_TIMESTAMP);
  }

  /** Milliseconds of each pass, once the submit has ended. */
  async read(): Promise<number[]> {
    const stamps = new BigUint64Array(await readMapped(this.#mapped, 2 * this.#numPasses * BYTES_PER_TIMESTAMP));
    return Array.from({ length: this.#numPasses }, (_, pass) => {
      const [begin = 0n, end = 0n] = stamps.subarray(2 * pass, 2 * pass + 2);
      return Number(end - begin) / 1e6;
    });
  }

  destroy(): void {
    this.#querySet.destroy();
    for (const buffer of [this.#resolved, this.#mapped]) this.#pool.destroy(buffer);
  }
}
