import type { Sequence } from "./sequence.ts";

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

/** @throws SchedulerError for a sequence that can never be served: empty prompt, no room for one token, id in use. */
export function refuseUnservable(
  { id, numTokens, numPromptTokens }: Sequence,
  maxSequenceLen: number,
  isKnown: boolean,
): void {
  const refuse = (code: SchedulerError["code"], message: string): SchedulerError =>
    new SchedulerError(code, message, { numTokens, maxSequenceLen });
  if (isKnown) throw refuse("duplicate_id", `a sequence with id ${id} is in flight`);
  if (numPromptTokens === 0) throw refuse("empty_prompt", "the prompt has no tokens");
  if (numTokens >= maxSequenceLen) {
    const message = `${numTokens} tokens leave no room to generate: a sequence holds at most ${maxSequenceLen}, prompt and output together`;
    throw refuse("context_length_exceeded", message);
  }
}
