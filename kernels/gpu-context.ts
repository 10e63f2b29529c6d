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

export function createGpuContext(
  gpu: Pick<Gpu, "device" | "traits">,
  family: KernelFamily = chooseFamily(gpu.traits),
): GpuContext {
  const { device } = gpu;
  return {
    device,
    family,
    kernels: new Kernels(device),
    pool: new BufferPool(device),
    guard: new StepGuard(device),
  };
}
