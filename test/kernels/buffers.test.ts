import { beforeEach, describe, expect, it } from "vitest";
import { BufferPool, type GpuContext } from "../../kernels/index.ts";
import { FAMILIES, useGpu } from "../support/gpu.ts";
import { Random } from "../support/random.ts";

const test = useGpu();
let gpu: GpuContext;
let pool: BufferPool;

beforeEach(() => {
  gpu = test.context(FAMILIES[0]);
  pool = new BufferPool(gpu.device);
});

describe("the ledger", () => {
  it("counts what is alive, in whole multiples of 16 bytes", () => {
    const small = pool.storage(1, "small");
    expect([small.size, pool.totalBytes]).toEqual([16, 16]);
    const large = pool.storage(1000, "large");
    expect([large.size, pool.totalBytes]).toEqual([1008, 1024]);
    pool.readback(20, "readback");
    pool.queryResults(256, "queries");
    expect(pool.totalBytes).toBe(1024 + 32 + 256);
    pool.destroy(large);
    expect(pool.totalBytes).toBe(16 + 32 + 256);
    pool.destroyAll();
    expect(pool.totalBytes).toBe(0);
  });

  it("takes a buffer off once, and none that is another pool's", () => {
    const buffer = pool.storage(64, "mine");
    const stranger = new BufferPool(gpu.device).storage(64, "stranger");
    pool.destroy(buffer);
    pool.destroy(buffer);
    pool.destroy(stranger);
    expect(pool.totalBytes).toBe(0);
  });

  it("agrees with what the buffers say of themselves, whatever comes and goes", () => {
    const random = new Random(3);
    const alive: GPUBuffer[] = [];
    for (let i = 0; i < 200; i++) {
      if (random.next() < 0.6) alive.push(pool.storage(random.int(0, 5000), `${i}`));
      else {
        const [buffer] = alive.splice(random.int(0, alive.length), 1);
        if (buffer) pool.destroy(buffer);
      }
      const bytes = alive.reduce((sum, { size }) => sum + size, 0);
      expect([pool.numBuffers, pool.totalBytes, pool.countBytes()]).toEqual([alive.length, bytes, bytes]);
    }
  });

  it("is as before after a read", async () => {
    const buffer = pool.upload(Uint32Array.of(1, 2, 3, 4, 5), "data");
    const before = pool.totalBytes;
    await pool.read(buffer, 0, 20);
    expect(pool.totalBytes).toBe(before);
  });
});

describe("contents", () => {
  it("of a new buffer are zeros, of an uploaded one its data, views of larger arrays included", async () => {
    expect(new Uint8Array(await pool.read(pool.storage(64, "zeros"), 0, 64))).toEqual(new Uint8Array(64));
    const view = new Uint32Array([9, 1, 2, 3, 9]).subarray(1, 4);
    const buffer = pool.upload(view, "view");
    expect([...new Uint32Array(await pool.read(buffer, 0, 16))]).toEqual([1, 2, 3, 0]);
    expect([...new Uint32Array(await pool.read(buffer, 4, 8))]).toEqual([2, 3]);
  });
});

it("a buffer over the adapter's limits is refused with its name, size and limit, and not counted", () => {
  const { maxBufferSize, maxStorageBufferBindingSize } = gpu.device.limits;
  const limit = 256 * Math.floor(Math.min(maxBufferSize, maxStorageBufferBindingSize) / 256);
  const refused = { code: "out_of_memory", message: expect.stringMatching(new RegExp(`"kCache".*${limit}`)) };
  expect(() => pool.storage(limit + 1, "kCache")).toThrow(expect.objectContaining(refused));
  expect(pool.totalBytes).toBe(0);
});
