import { BufferPool } from "./buffers.ts";
import type { Gpu } from "./device.ts";
import { chooseFamily, type KernelFamily } from "./family.ts";
import { Kernels } from "./kernel.ts";
import type { OpContext } from "./op.ts";
import { StepGuard } from "./step-guard.ts";

/** All that is needed to run models on one device. */
export interface GpuContext extends OpContext {
  readonly device: GPUDevice;
  readonly pool: BufferPool;
  readonly guard: StepGuard;
}

/** @param maxBytes as `BufferPool` has it */
export function createGpuContext(
  gpu: Pick<Gpu, "device" | "traits">,
  family: KernelFamily = chooseFamily(gpu.traits),
  maxBytes?: number,
): GpuContext {
  const { device } = gpu;
  return {
    device,
    family,
    kernels: new Kernels(device),
    pool: new BufferPool(device, maxBytes),
    guard: new StepGuard(device),
  };
}

/** The same device and compiled kernels, with buffers of its own and a guard that knows nothing of what went wrong before. */
export function siblingContext(context: GpuContext): GpuContext {
  const { device } = context;
  return { ...context, pool: new BufferPool(device), guard: new StepGuard(device) };
}
