import { type GpuContext, PassTimer } from "../kernels/index.ts";

/** A pass of `repeats` calls, all of them encoded by `encode`. */
export interface Timed {
  readonly repeats: number;
  readonly encode: (pass: GPUComputePassEncoder) => void;
}

/** Microseconds on the device that one call takes: the best of `rounds` passes. */
export async function gpuMicroseconds(gpu: GpuContext, { repeats, encode }: Timed, rounds = 4): Promise<number> {
  const timer = new PassTimer(gpu.device, gpu.pool, 1);
  let best = Number.POSITIVE_INFINITY;
  for (let round = 0; round < rounds; round++) {
    const encoder = gpu.device.createCommandEncoder();
    const pass = encoder.beginComputePass({ timestampWrites: timer.writes(0) });
    encode(pass);
    pass.end();
    timer.resolve(encoder);
    gpu.device.queue.submit([encoder.finish()]);
    const [ms = 0] = await timer.read();
    best = Math.min(best, (1000 * ms) / repeats);
  }
  return best;
}

/** Keeps the device busy until its clocks are up: an idle GPU takes a while to speed up. */
export async function warmUp(gpu: GpuContext, encode: (pass: GPUComputePassEncoder) => void, ms = 300): Promise<void> {
  const pending: Promise<void>[] = [];
  for (const start = performance.now(); performance.now() - start < ms; ) {
    const encoder = gpu.device.createCommandEncoder();
    const pass = encoder.beginComputePass();
    for (let i = 0; i < 20; i++) encode(pass);
    pass.end();
    gpu.device.queue.submit([encoder.finish()]);
    pending.push(gpu.device.queue.onSubmittedWorkDone());
    if (pending.length > 3) await pending.shift();
  }
  await Promise.all(pending);
}

/** Fills a buffer with repetitions of `bytes`. */
export function fill(device: GPUDevice, buffer: GPUBuffer, bytes: Uint8Array<ArrayBuffer>): void {
  for (let at = 0; at < buffer.size; at += bytes.length) {
    device.queue.writeBuffer(buffer, at, bytes, 0, Math.min(bytes.length, buffer.size - at));
  }
}

export function randomBytes(count: number, seed = 1): Uint8Array<ArrayBuffer> {
  let state = seed;
  return Uint8Array.from({ length: count }, () => {
    state = (Math.imul(state, 1664525) + 1013904223) >>> 0;
    return state >>> 24;
  });
}

/** GB/s, bytes read and written, of copies from one large buffer to another. */
export async function copyBandwidth(gpu: GpuContext): Promise<number> {
  const { device, pool } = gpu;
  const bytes = Math.min(2 ** 29, device.limits.maxStorageBufferBindingSize);
  const [from, to] = [pool.storage(bytes, "from"), pool.storage(bytes, "to")];
  const copy = async (count: number) => {
    const encoder = device.createCommandEncoder();
    for (let i = 0; i < count; i++) encoder.copyBufferToBuffer(from, 0, to, 0, bytes);
    const startMs = performance.now();
    device.queue.submit([encoder.finish()]);
    await device.queue.onSubmittedWorkDone();
    return performance.now() - startMs;
  };
  const numCopies = 20;
  await copy(numCopies);
  const ms = Math.min(await copy(numCopies), await copy(numCopies), await copy(numCopies));
  for (const buffer of [from, to]) pool.destroy(buffer);
  return (2 * bytes * numCopies) / ms / 1e6;
}
