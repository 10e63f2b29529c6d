/** No adapter, a lost device, a failed compile or a poisoned step. `code` is stable. */
export class GpuError extends Error {
  override readonly name = "GpuError";
  constructor(
    readonly code: "no_adapter" | "device_lost" | "step_poisoned" | "shader_invalid" | "out_of_memory",
    message: string,
    options?: ErrorOptions,
  ) {
    super(message, options);
  }
}

/** A call's argument is not what it must be; the message says what it was and what was expected. */
export class ArgumentError extends Error {
  override readonly name = "ArgumentError";
  readonly code = "bad_argument";
  constructor(
    readonly argument: string,
    was: string,
    expected: string,
  ) {
    super(`${argument}: ${was}, expected ${expected}`);
  }
}
