import { mkdtempSync, readdirSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { chooseFamily, createGpuContext, type DeviceTraits, GpuError, openGpu } from "../../kernels/index.ts";

let cacheDir: string;

// One folder for all: a process keeps the driver that it found first.
beforeAll(() => {
  cacheDir = mkdtempSync(join(tmpdir(), "canopy-test-"));
});
afterAll(() => rmSync(cacheDir, { recursive: true, force: true }));

describe("openGpu", () => {
  it("asked for a GPU gives one, or says what to install and that there is --adapter auto; never a software adapter", async () => {
    const outcome = await openGpu("gpu", cacheDir).catch((error: unknown) => error);
    if (outcome instanceof Error) {
      expect(outcome).toBeInstanceOf(GpuError);
      expect(outcome).toMatchObject({
        code: "no_adapter",
        message: expect.stringMatching(/libvulkan1.*--adapter auto/),
      });
    } else {
      const gpu = outcome as Awaited<ReturnType<typeof openGpu>>;
      expect(gpu.traits.software).toBe(false);
      gpu.close();
    }
    expect(readdirSync(cacheDir), "nothing is unpacked for a GPU").toEqual([]);
  });

  it("opens a software adapter from an empty cache folder, again after closing, and it computes", async () => {
    for (let round = 0; round < 2; round++) {
      const gpu = await openGpu("software", cacheDir);
      expect(gpu.traits.software).toBe(true);
      expect(gpu.adapterName).not.toBe("");
      const { pool } = createGpuContext(gpu);
      const buffer = pool.upload(Uint32Array.of(1, 2, 3, 4), "data");
      expect([...new Uint32Array(await pool.read(buffer, 0, 16))]).toEqual([1, 2, 3, 4]);
      gpu.close();
    }
  });

  it("two devices are open at once, and closing one leaves the other", async () => {
    const [first, second] = await Promise.all([openGpu("software", cacheDir), openGpu("software", cacheDir)]);
    first.close();
    const { pool } = createGpuContext(second);
    expect(new Uint8Array(await pool.read(pool.storage(16, "zeros"), 0, 16))).toEqual(new Uint8Array(16));
    second.close();
  });
});

describe("chooseFamily", () => {
  const gpu: DeviceTraits = { software: false, subgroupSizes: [32, 32], f16: true, matrices: false };

  it.each<readonly [string, DeviceTraits, string, string]>([
    ["a GPU with subgroups and f16", gpu, "subgroup", "f16"],
    ["a GPU without f16", { ...gpu, f16: false }, "subgroup", "f32"],
    ["a GPU without subgroups", { ...gpu, subgroupSizes: [0, 0] }, "portable", "f32"],
    ["a software adapter", { ...gpu, software: true, subgroupSizes: [4, 4] }, "portable", "f32"],
  ])("%s", (_, traits, name, storage) => {
    expect(chooseFamily(traits)).toMatchObject({ name, storage });
  });

  it("tiles start at 1 and ascend; only those that need no subgroups where there are none", () => {
    expect(chooseFamily({ ...gpu, software: true, subgroupSizes: [0, 0] }).rowTiles).toEqual([1]);
    for (const software of [true, false]) {
      const { rowTiles } = chooseFamily({ ...gpu, software });
      expect(rowTiles[0]).toBe(1);
      expect(rowTiles).toEqual([...new Set(rowTiles)].sort((a, b) => a - b));
    }
  });
});
