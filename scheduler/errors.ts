/** A sequence that the scheduler cannot take. `code` is stable; the message names value and limit. */
export class SchedulerError extends Error {
  override readonly name = "SchedulerError";
  constructor(
    readonly code: "context_length_exceeded" | "empty_prompt" | "duplicate_id",
    message: string,
    /** The tokens that came and the most that a sequence may hold, prompt and output together. */
    readonly numbers: { readonly numTokens: number; readonly maxSequenceLen: number },
  ) {
    super(message);
  }
}
