import type { BufferPool } from "../kernels/index.ts";
import { invariant } from "../kvcache/invariant.ts";

/** What an engine has on the device. All of it is made before the first step: steps and requests make and destroy no buffers. */
export class DeviceLedger {
  readonly #pool: Pick<BufferPool, "totalBytes" | "numBuffers" | "countBytes">;
  readonly #numBuffers: number;
  readonly #numBytes: number;

  /** The engine has all that it needs. */
  constructor(pool: Pick<BufferPool, "totalBytes" | "numBuffers" | "countBytes">) {
    this.#pool = pool;
    this.#numBuffers = pool.numBuffers;
    this.#numBytes = pool.totalBytes;
  }

  get numBuffers(): number {
    return this.#pool.numBuffers;
  }

  get totalBytes(): number {
    return this.#pool.totalBytes;
  }

  /** @throws InvariantError where buffers have come or gone, or their bytes do not add up */
  checkIntegrity(): void {
    const { numBuffers, totalBytes } = this.#pool;
    invariant(
      numBuffers === this.#numBuffers && totalBytes === this.#numBytes,
      () =>
        `${numBuffers} buffers of ${totalBytes} bytes on the device, at the start ${this.#numBuffers} of ${this.#numBytes}`,
    );
    const counted = this.#pool.countBytes();
    invariant(counted === totalBytes, () => `the buffers have ${counted} bytes, ${totalBytes} are in the ledger`);
  }
}
