import { type AdapterChoice, createGpuContext, type Gpu, type GpuContext, openGpu } from "../kernels/index.ts";
import { DeviceTimer } from "./timing.ts";

/** A device with all that a suite needs to work on it. */
export interface BenchDevice {
  readonly device: Gpu;
  readonly gpu: GpuContext;
  readonly timer: DeviceTimer;
}

/** Opens an adapter for `work`, and closes it. @throws GpuError no_adapter */
export async function withDevice<T>(adapter: AdapterChoice, work: (on: BenchDevice) => Promise<T>): Promise<T> {
  const device = await openGpu(adapter);
  const gpu = createGpuContext(device);
  try {
    return await work({ device, gpu, timer: new DeviceTimer(device, gpu) });
  } finally {
    gpu.pool.destroyAll();
    device.close();
  }
}
