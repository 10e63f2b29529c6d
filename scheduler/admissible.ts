import { SchedulerError } from "./errors.ts";
import type { SequenceRequest } from "./sequence.ts";

/**
 * Whether a sequence can ever be served where one holds `maxSequenceLen` tokens of prompt + output.
 * @throws SchedulerError empty_prompt, or context_length_exceeded where there is no room for one more token
 */
export function checkAdmissible(
  { promptTokenIds, outputTokenIds = [] }: Pick<SequenceRequest, "promptTokenIds" | "outputTokenIds">,
  maxSequenceLen: number,
): void {
  const numTokens = promptTokenIds.length + outputTokenIds.length;
  const numbers = { numTokens, maxSequenceLen };
  if (promptTokenIds.length === 0) throw new SchedulerError("empty_prompt", "the prompt has no tokens", numbers);
  if (numTokens >= maxSequenceLen) {
    const message = `${numTokens} tokens leave no room to generate: a sequence holds at most ${maxSequenceLen}, prompt and output together`;
    throw new SchedulerError("context_length_exceeded", message, numbers);
  }
}
