import { GpuError } from "./errors.ts";

/** Bytes that the offset of a binding is a multiple of (WebGPU's minStorageBufferOffsetAlignment, unless a device asks for less). */
export const OFFSET_UNIT = 256;

/** Makes and owns the buffers of one device, and keeps the ledger of their bytes. */
export class BufferPool {
  /** Bytes of a storage buffer at most: what the device can bind as one, in whole units of those that bindings begin at. */
  readonly maxBytes: number;
  readonly #device: GPUDevice;
  readonly #buffers = new Map<GPUBuffer, number>();
  #totalBytes = 0;

  /** @param maxBytes less than what the device can bind, where something is to be tried out */
  constructor(device: GPUDevice, maxBytes = Number.POSITIVE_INFINITY) {
    const { maxBufferSize, maxStorageBufferBindingSize } = device.limits;
    this.#device = device;
    const most = Math.min(maxBytes, maxBufferSize, maxStorageBufferBindingSize);
    this.maxBytes = Math.floor(most / OFFSET_UNIT) * OFFSET_UNIT;
  }

  /** Bytes of all buffers that are alive. */
  get totalBytes(): number {
    return this.#totalBytes;
  }

  /** Buffers that are alive. */
  get numBuffers(): number {
    return this.#buffers.size;
  }

  /** What `totalBytes` has to be: the bytes of all buffers that are alive, added up. */
  countBytes(): number {
    let sum = 0;
    for (const size of this.#buffers.values()) sum += size;
    return sum;
  }

  /** A storage buffer of at least `bytes`, zero-filled. @throws GpuError out_of_memory over the adapter's limits. */
  storage(bytes: number, label: string): GPUBuffer {
    const size = Math.max(16, Math.ceil(bytes / 16) * 16);
    if (size > this.maxBytes) {
      const message = `buffer "${label}" needs ${size} bytes; this adapter binds at most ${this.maxBytes}`;
      throw new GpuError("out_of_memory", message);
    }
    return this.#create(label, size, GPUBufferUsage.STORAGE | GPUBufferUsage.COPY_DST | GPUBufferUsage.COPY_SRC);
  }

  /** A storage buffer that holds `data`. */
  upload(data: ArrayBufferView<ArrayBuffer>, label: string): GPUBuffer {
    const buffer = this.storage(data.byteLength, label);
    this.#device.queue.writeBuffer(buffer, 0, data.buffer, data.byteOffset, data.byteLength);
    return buffer;
  }

  /** A buffer for reading `bytes` back. */
  readback(bytes: number, label: string): GPUBuffer {
    return this.#create(
      label,
      Math.max(16, Math.ceil(bytes / 16) * 16),
      GPUBufferUsage.MAP_READ | GPUBufferUsage.COPY_DST,
    );
  }

  /** A buffer that timestamps are resolved into. */
  queryResults(bytes: number, label: string): GPUBuffer {
    return this.#create(label, bytes, GPUBufferUsage.QUERY_RESOLVE | GPUBufferUsage.COPY_SRC);
  }

  /** Bytes `from … from + size − 1` of a buffer, once the work submitted so far has ended. For tests and tools: it allocates. */
  async read(buffer: GPUBuffer, from: number, size: number): Promise<ArrayBuffer> {
    const target = this.readback(size, "read");
    const encoder = this.#device.createCommandEncoder();
    encoder.copyBufferToBuffer(buffer, from, target, 0, size);
    this.#device.queue.submit([encoder.finish()]);
    const bytes = await readMapped(target, size);
    this.destroy(target);
    return bytes;
  }

  destroy(buffer: GPUBuffer): void {
    this.#totalBytes -= this.#buffers.get(buffer) ?? 0;
    this.#buffers.delete(buffer);
    buffer.destroy();
  }

  destroyAll(): void {
    for (const buffer of [...this.#buffers.keys()]) this.destroy(buffer);
  }

  #create(label: string, size: number, usage: number): GPUBuffer {
    const buffer = this.#device.createBuffer({ label, size, usage });
    this.#buffers.set(buffer, size);
    this.#totalBytes += size;
    return buffer;
  }
}

/** A copy of the first `size` bytes of a readback buffer, once the work submitted so far has ended. */
export async function readMapped(buffer: GPUBuffer, size: number = buffer.size): Promise<ArrayBuffer> {
  await buffer.mapAsync(GPUMapMode.READ);
  const bytes = buffer.getMappedRange().slice(0, size);
  buffer.unmap();
  return bytes;
}
