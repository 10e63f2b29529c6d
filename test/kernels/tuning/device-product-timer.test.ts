import { describe, expect, it } from "vitest";
import {
  BufferPool,
  DeviceProductTimer,
  GpuError,
  type KernelFamily,
  Kernels,
  StepGuard,
  uploadMatrix,
} from "../../../kernels/index.ts";
import { FAMILIES, useGpu } from "../../support/gpu.ts";
import { Random } from "../../support/random.ts";
import { randomBlocks } from "../weights/random-blocks.ts";

const test = useGpu();

describe.each(FAMILIES)("$name family, $storage", (family) => {
  it("times every variant of a product, and leaves no buffer behind", async () => {
    const gpu = test.context(family);
    const product = productFor(family);
    const before = gpu.pool.totalBytes;
    const now = ticking(100);
    const variants = family.rowTiles.map((rowTile) => ({ numRows: 8, rowTile, numRanges: 1 }));
    const times = await new DeviceProductTimer(gpu, now).time(product, variants);
    expect(times).toHaveLength(variants.length);
    for (const ms of times) expect(ms).toBeGreaterThan(0);
    expect(gpu.pool.totalBytes).toBe(before);
  });

  it("has no answer for partial sums that no buffer holds, and still one for the others", async () => {
    const gpu = test.context(family);
    const pool = new BufferPool(gpu.device, 2 ** 16);
    const variants = [2 ** 40, 2 ** 10, 1].map((numRanges) => ({ numRows: 1, rowTile: 1, numRanges }));
    const timer = new DeviceProductTimer({ ...gpu, pool }, ticking(300));
    const [tooLarge, largerThanPool, ms] = await timer.time(productFor(family), variants);
    expect([tooLarge, largerThanPool]).toEqual([Number.NaN, Number.NaN]);
    expect(ms).toBeGreaterThan(0);
  });

  it("gives its buffers back when a kernel cannot be made", async () => {
    const gpu = test.context(family);
    const kernels = new NoKernels(gpu.device);
    const product = productFor(family);
    const before = gpu.pool.totalBytes;
    const timing = new DeviceProductTimer({ ...gpu, kernels }, ticking(300)).time(product, [
      { numRows: 1, rowTile: 1, numRanges: 1 },
    ]);
    await expect(timing).rejects.toMatchObject({ code: "shader_invalid" });
    expect(gpu.pool.totalBytes).toBe(before);
  });

  it("gives its buffers back when the device refuses them", async () => {
    const gpu = test.context(family);
    const product = productFor(family);
    const before = gpu.pool.totalBytes;
    const timing = new DeviceProductTimer({ ...gpu, guard: new Refusing(gpu.device) }, ticking(300)).time(product, [
      { numRows: 1, rowTile: 1, numRanges: 1 },
    ]);
    await expect(timing).rejects.toMatchObject({ code: "out_of_memory" });
    expect(gpu.pool.totalBytes).toBe(before);
  });
});

class Refusing extends StepGuard {
  override async run<T>(submit: () => Promise<T>): Promise<T> {
    await super.run(submit);
    throw new GpuError("out_of_memory", "no");
  }
}

class NoKernels extends Kernels {
  override bind(): Promise<never> {
    return Promise.reject(new GpuError("shader_invalid", "no"));
  }
}

/** A product of two layers on the device. */
function productFor(family: KernelFamily) {
  const shape = { numInputs: 64, numOutputs: 32 };
  const { pool } = test.context(family);
  const matrices = [1, 2].map((seed) => {
    const blocks = randomBlocks(new Random(seed), "q8", shape.numInputs * shape.numOutputs);
    return uploadMatrix(pool, family, shape, blocks, "weights");
  });
  return { shape, whole: false, matrices };
}

/** A clock that goes on at every look, so that warming up ends after a few rounds. */
function ticking(ms: number): () => number {
  let now = 0;
  return () => {
    now += ms;
    return now;
  };
}
