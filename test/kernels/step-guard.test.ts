import { afterEach, beforeEach, expect, it } from "vitest";
import { type Gpu, GpuError, openGpu, StepGuard } from "../../kernels/index.ts";

let gpu: Gpu;
let guard: StepGuard;

beforeEach(async () => {
  gpu = await openGpu("software");
  guard = new StepGuard(gpu.device);
});
afterEach(() => gpu.close());

/** Invalid: no buffer may have this usage. */
const makeInvalidBuffer = () =>
  gpu.device.createBuffer({ size: 16, usage: GPUBufferUsage.MAP_READ | GPUBufferUsage.STORAGE });
const step = async () => {
  await gpu.device.queue.onSubmittedWorkDone();
  return "done";
};

it("gives what a good step gives", async () => {
  expect(await guard.run(step)).toBe("done");
  expect(guard.failure).toBeUndefined();
});

it("refuses the result of a step with a validation error, and only that step's", async () => {
  const bad = () => {
    makeInvalidBuffer();
    return step();
  };
  await expect(guard.run(bad)).rejects.toMatchObject({ name: "GpuError", code: "step_poisoned" });
  expect(await guard.run(step)).toBe("done");
});

it("refuses every step after an error that no step caught", async () => {
  makeInvalidBuffer();
  await step();
  await expect.poll(() => guard.failure?.code).toBe("step_poisoned");
  await expect(guard.run(step)).rejects.toMatchObject({ code: "step_poisoned" });
});

it("refuses every step once the device is lost, and the one under way", async () => {
  const underWay = guard.run(async () => {
    gpu.device.destroy();
    return step();
  });
  await expect(underWay).rejects.toMatchObject({ code: "device_lost" });
  await expect(guard.run(step)).rejects.toMatchObject({ code: "device_lost" });
  expect(guard.failure?.code).toBe("device_lost");
});

it("a step whose own promise fails is no result", async () => {
  const failing = guard.run(() => Promise.reject(new Error("map failed")));
  await expect(failing).rejects.toMatchObject({ name: "GpuError", message: expect.stringContaining("map failed") });
});

it("a step that fails before it waits hides no error that comes later", async () => {
  const failing = guard.run(() => {
    throw new Error("no buffer");
  });
  await expect(failing).rejects.toMatchObject({ name: "GpuError", message: expect.stringContaining("no buffer") });
  makeInvalidBuffer();
  await step();
  await expect.poll(() => guard.failure?.code).toBe("step_poisoned");
});

it("memory that the device does not have is told from other errors", async () => {
  const scopes = [new GPUOutOfMemoryError("no room"), null];
  const device = {
    ...{ lost: new Promise(() => {}), addEventListener: () => {}, pushErrorScope: () => {} },
    popErrorScope: async () => scopes.pop(),
  };
  const failing = new StepGuard(device as unknown as GPUDevice).run(step);
  await expect(failing).rejects.toMatchObject({ code: "out_of_memory", message: expect.stringContaining("no room") });
});

it("a step that finds too little memory says so", async () => {
  const error = new GpuError("out_of_memory", "a buffer is too large");
  await expect(guard.run(() => Promise.reject(error))).rejects.toBe(error);
});
