import { afterAll, beforeAll } from "vitest";
import {
  createGpuContext,
  type DeviceTraits,
  fromHalf,
  type Gpu,
  type GpuContext,
  type KernelFamily,
  type Op,
  openGpu,
  type PassSize,
  submitPass,
} from "../../kernels/index.ts";

/** CANOPY_TEST_ADAPTER=gpu runs the kernels' tests on a real GPU, with f16 storage too. */
export const ADAPTER = process.env.CANOPY_TEST_ADAPTER === "gpu" ? "gpu" : "software";

const SUBGROUP: KernelFamily = { name: "subgroup", storage: "f32", rowTiles: [1, 2, 4, 8], splitSize: 256 };

/** For GPUs whose traits say that they have matrices. */
export const MATRIX: KernelFamily = { name: "matrix", storage: "f16", rowTiles: [8, 16, 32, 64], splitSize: 256 };

/** Every family that the adapter can run (SwiftShader: subgroups of 4, no f16). */
export const FAMILIES: readonly [KernelFamily, ...KernelFamily[]] = [
  { name: "portable", storage: "f32", rowTiles: [1, 2, 3, 4, 8], splitSize: 64 },
  SUBGROUP,
  ...(ADAPTER === "gpu" ? [{ ...SUBGROUP, storage: "f16" } as const] : []),
];

/** One device for all tests of a file, opened before the first. */
export function useGpu(): TestGpu {
  const test = new TestGpu();
  beforeAll(async () => test.open());
  afterAll(() => test.close());
  return test;
}

export class TestGpu {
  #gpu: Gpu | undefined;
  readonly #contexts = new Map<KernelFamily, GpuContext>();

  async open(): Promise<void> {
    this.#gpu = await openGpu(ADAPTER);
  }

  get traits(): DeviceTraits {
    if (this.#gpu === undefined) throw new Error("traits are known once the hooks have run");
    return this.#gpu.traits;
  }

  /** The family's context: its pool keeps what tests allocate until the file ends. */
  context(family: KernelFamily): GpuContext {
    if (this.#gpu === undefined) throw new Error("contexts exist once the hooks have run");
    let context = this.#contexts.get(family);
    if (context === undefined) {
      context = createGpuContext(this.#gpu, family);
      this.#contexts.set(family, context);
    }
    return context;
  }

  close(): void {
    for (const { pool } of this.#contexts.values()) pool.destroyAll();
    this.#gpu?.close();
  }
}

/** Encodes all calls into one pass and waits until the device has done them. */
export async function submit(
  { device, guard }: GpuContext,
  calls: readonly ((pass: GPUComputePassEncoder) => void)[],
): Promise<void> {
  await guard.run(async () => {
    submitPass(device, (pass) => {
      for (const call of calls) call(pass);
    });
    await device.queue.onSubmittedWorkDone();
  });
}

/** An op as a call for `submit`. */
export function call(op: Op, size: Partial<PassSize>): (pass: GPUComputePassEncoder) => void {
  return (pass) => op(pass, { numRows: 0, numSplits: 1, numLogits: 0, ...size });
}

export async function readF32(context: GpuContext, buffer: GPUBuffer, count: number): Promise<Float32Array> {
  return new Float32Array(await context.pool.read(buffer, 0, 4 * count));
}

/** Values of the family's storage type, read back as f32. */
export async function readStored(context: GpuContext, buffer: GPUBuffer, count: number): Promise<Float32Array> {
  if (context.family.storage === "f32") return readF32(context, buffer, count);
  return fromHalf(new Uint16Array(await context.pool.read(buffer, 0, Math.ceil(count / 2) * 4)).subarray(0, count));
}

export async function readU32(context: GpuContext, buffer: GPUBuffer, count: number): Promise<Uint32Array> {
  return new Uint32Array(await context.pool.read(buffer, 0, 4 * count));
}
