import { expect, it, vi } from "vitest";
import type { Gpu } from "../../../kernels/device.ts";
import { type FlashDecodingArgs, flashDecodingAttention } from "../../../kernels/index.ts";

const { opened, failures } = vi.hoisted(() => ({ opened: [] as Gpu[], failures: [] as Error[] }));

vi.mock("../../../kernels/device.ts", async (original) => {
  const module = await original<typeof import("../../../kernels/device.ts")>();
  return {
    ...module,
    openGpu: async () => {
      const failure = failures.pop();
      if (failure) throw failure;
      const gpu = await module.openGpu();
      opened.push(gpu);
      return gpu;
    },
  };
});

const row = (...values: number[]) => ({ data: Float32Array.of(...values), shape: [1, 1, 1, 8] });

/** Nothing is cached, so that the row sees itself alone. */
const ARGS: FlashDecodingArgs = {
  q: row(1, 2, 3, 4, 5, 6, 7, 8),
  kCache: { data: new Float32Array(8), shape: [1, 1, 1, 8] },
  vCache: { data: new Float32Array(8), shape: [1, 1, 1, 8] },
  currentK: row(1, 0, 1, 0, 1, 0, 1, 0),
  currentV: row(8, 7, 6, 5, 4, 3, 2, 1),
  mask: { data: Uint8Array.of(1), shape: [1, 1] },
  kvSeqLen: { data: Int32Array.of(0), shape: [1] },
};

it("without a device, one is opened for all calls, and another after that failed or the device was lost", async () => {
  failures.push(new Error("no adapter yet"));
  await expect(flashDecodingAttention(ARGS)).rejects.toThrow("no adapter yet");
  for (const numOpened of [1, 2]) {
    for (let call = 0; call < 2; call++) {
      expect((await flashDecodingAttention(ARGS)).data).toEqual(ARGS.currentV?.data);
      expect(opened).toHaveLength(numOpened);
    }
    const device = opened.at(-1)?.device;
    device?.destroy();
    await device?.lost;
  }
});
