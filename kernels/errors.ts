/** No adapter, a lost device, a failed compile or a poisoned step. `code` is stable. */
export class GpuError extends Error {
  override readonly name = "GpuError";
  constructor(
    readonly code: "no_adapter" | "device_lost" | "step_poisoned" | "shader_invalid" | "out_of_memory",
    message: string,
  ) {
    super(message);
  }
}
