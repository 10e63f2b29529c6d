import { GpuError } from "./errors.ts";

/**
 * Nothing that a failed submit left behind may be taken for a result: an invalid bind group makes a submit a no-op
 * whose reads are zeros, and after a device is lost most promises still resolve.
 */
export class StepGuard {
  readonly #device: GPUDevice;
  #failure: GpuError | undefined;

  constructor(device: GPUDevice) {
    this.#device = device;
    void device.lost.then(({ message }) => {
      this.#failure ??= new GpuError("device_lost", `the GPU device was lost: ${message}`);
    });
    device.addEventListener("uncapturederror", (event) => {
      this.#failure ??= poisoned((event as GPUUncapturedErrorEvent).error);
    });
  }

  /** What ended the device's usefulness, if anything did. */
  get failure(): GpuError | undefined {
    return this.#failure;
  }

  /**
   * Runs `submit`, which encodes and submits and may start reading back, and waits for what it returns.
   * @throws GpuError step_poisoned, out_of_memory or device_lost, or the one that `submit` threw; then no result of this step may be used.
   */
  async run<T>(submit: () => Promise<T>): Promise<T> {
    if (this.#failure) throw this.#failure;
    this.#device.pushErrorScope("out-of-memory");
    this.#device.pushErrorScope("validation");
    // What it throws at once is a rejection too: the scopes are closed in any case.
    const result = new Promise<T>((resolve) => resolve(submit()));
    const scopes = [this.#device.popErrorScope(), this.#device.popErrorScope()];
    const [value, ...errors] = await Promise.allSettled([result, ...scopes]);
    for (const scope of errors) {
      if (scope.status === "rejected") throw this.#failure ?? new GpuError("device_lost", String(scope.reason));
      if (scope.value) throw poisoned(scope.value);
    }
    if (this.#failure) throw this.#failure;
    if (value.status === "fulfilled") return value.value;
    throw value.reason instanceof GpuError ? value.reason : new GpuError("device_lost", String(value.reason));
  }
}

function poisoned(error: GPUError): GpuError {
  if (error instanceof GPUOutOfMemoryError) {
    return new GpuError("out_of_memory", `the GPU has too little memory: ${error.message}`);
  }
  return new GpuError("step_poisoned", `the GPU refused a step: ${error.message}`);
}
