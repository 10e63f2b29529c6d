import { type Gpu, type GpuContext, PassTimer } from "../kernels/index.ts";

export type Encode = (pass: GPUComputePassEncoder) => void;

/** An idle GPU runs at a fraction of its clock: an H100 at 345 MHz, and after a second of load at 1,980. */
const WARM_UP_MS = 1500;
/** Pauses that a warm GPU sits out. */
const MAX_IDLE_MS = 50;
/** Submits in the queue while warming up, so that the device never waits for the host. */
const NUM_QUEUED = 3;
const COPIES_QUEUED = 4;
const COPY_BYTES = { gpu: 2 ** 29, software: 2 ** 26 } as const;

/** One thread a vector; grids are at most 65,535 long. */
const COPY_KERNEL = `
@group(0) @binding(0) var<storage, read> original: array<vec4u>;
@group(0) @binding(1) var<storage, read_write> duplicate: array<vec4u>;
@compute @workgroup_size(256)
fn main(@builtin(workgroup_id) group: vec3u, @builtin(num_workgroups) groups: vec3u, @builtin(local_invocation_index) t: u32) {
  let i = (group.y * groups.x + group.x) * 256u + t;
  if (i < arrayLength(&duplicate)) { duplicate[i] = original[i]; }
}`;

/** The one way in which the suites time a device's work: warmed up, without gaps, by the device's own clock. */
export class DeviceTimer {
  readonly #gpu: GpuContext;
  readonly #kind: "gpu" | "software";
  /** By number of passes. */
  readonly #timers = new Map<number, PassTimer>();
  #copyBuffers: readonly [from: GPUBuffer, to: GPUBuffer] | undefined;
  #lastWorkMs = Number.NEGATIVE_INFINITY;

  constructor(device: Pick<Gpu, "traits">, gpu: GpuContext) {
    this.#gpu = gpu;
    this.#kind = device.traits.software ? "software" : "gpu";
  }

  /**
   * Milliseconds on the device of each of `numPasses` passes that do `work`. They are one submit, with a pass ahead of them
   * that is not timed.
   * @param before encoded ahead of each timed pass, not timed itself
   * @throws GpuError when the device failed
   */
  async time(
    numPasses: number,
    work: Encode,
    before: (encoder: GPUCommandEncoder) => void = () => {},
  ): Promise<readonly number[]> {
    const { device, pool, guard } = this.#gpu;
    const timer = this.#timers.get(numPasses) ?? new PassTimer(device, pool, numPasses);
    this.#timers.set(numPasses, timer);
    await this.warmUp();
    const times = await guard.run(() => {
      const encoder = device.createCommandEncoder();
      encodePass(encoder, {}, work);
      for (let i = 0; i < numPasses; i++) {
        before(encoder);
        encodePass(encoder, { timestampWrites: timer.writes(i) }, work);
      }
      timer.resolve(encoder);
      device.queue.submit([encoder.finish()]);
      return timer.read();
    });
    this.#lastWorkMs = performance.now();
    return times;
  }

  /** Unbroken load until a GPU's clocks are up. A software adapter, or a GPU that was busy a moment ago, needs none. */
  async warmUp(): Promise<void> {
    const startMs = performance.now();
    if (this.#kind === "software" || startMs - this.#lastWorkMs < MAX_IDLE_MS) return;
    const queued: Promise<void>[] = [];
    while (performance.now() - startMs < WARM_UP_MS) {
      queued.push(this.#copy(COPIES_QUEUED));
      if (queued.length >= NUM_QUEUED) await queued.shift();
    }
    await Promise.all(queued);
    this.#lastWorkMs = performance.now();
  }

  /**
   * GB/s, bytes read and written, of copies from one large buffer to another: the fastest of three. A GPU copies by a kernel, since a
   * queue's copies reach a fraction of its bandwidth on some; a software adapter is the other way round.
   */
  async copyBandwidth(): Promise<number> {
    const bytes = 2 * this.#buffersToCopy()[0].size;
    if (this.#kind === "gpu") {
      const copy = await copyKernel(this.#gpu.device, ...this.#buffersToCopy());
      return bytes / Math.min(...(await this.time(3, copy))) / 1e6;
    }
    let bestMs = Number.POSITIVE_INFINITY;
    for (let round = 0; round < 3; round++) {
      const startMs = performance.now();
      await this.#copy(1);
      bestMs = Math.min(bestMs, performance.now() - startMs);
    }
    return bytes / bestMs / 1e6;
  }

  #copy(count: number): Promise<void> {
    const { queue } = this.#gpu.device;
    const [from, to] = this.#buffersToCopy();
    const encoder = this.#gpu.device.createCommandEncoder();
    for (let i = 0; i < count; i++) encoder.copyBufferToBuffer(from, 0, to, 0, from.size);
    queue.submit([encoder.finish()]);
    return queue.onSubmittedWorkDone();
  }

  #buffersToCopy(): readonly [from: GPUBuffer, to: GPUBuffer] {
    const { device, pool } = this.#gpu;
    const bytes = Math.min(COPY_BYTES[this.#kind], device.limits.maxStorageBufferBindingSize);
    this.#copyBuffers ??= [pool.storage(bytes, "copyFrom"), pool.storage(bytes, "copyTo")];
    return this.#copyBuffers;
  }
}

function encodePass(encoder: GPUCommandEncoder, descriptor: GPUComputePassDescriptor, work: Encode): void {
  const pass = encoder.beginComputePass(descriptor);
  work(pass);
  pass.end();
}

async function copyKernel(device: GPUDevice, from: GPUBuffer, to: GPUBuffer): Promise<Encode> {
  const module = device.createShaderModule({ code: COPY_KERNEL });
  const pipeline = await device.createComputePipelineAsync({ layout: "auto", compute: { module } });
  const entries = [from, to].map((buffer, binding) => ({ binding, resource: { buffer } }));
  const bindGroup = device.createBindGroup({ layout: pipeline.getBindGroupLayout(0), entries });
  const numGroups = Math.ceil(to.size / 16 / 256);
  return (pass) => {
    pass.setPipeline(pipeline);
    pass.setBindGroup(0, bindGroup);
    pass.dispatchWorkgroups(Math.min(numGroups, 32_768), Math.ceil(numGroups / 32_768));
  };
}
