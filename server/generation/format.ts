import type { TextDelta, TextService } from "../text-service.ts";
import { type AnswerToken, chatLogprobs, completionLogprobs } from "./logprobs.ts";

type FinishReason = "stop" | "length";

/** How completions and chat write the same things differently. Each returns an entry of `choices`. */
export interface AnswerFormat {
  readonly idPrefix: string;
  readonly object: string;
  readonly chunkObject: string;
  /** What a streamed choice begins with, if anything. */
  opening(index: number): object | undefined;
  delta(index: number, text: string, logprobs: object | null): object;
  /** What a streamed choice ends with. */
  closing(index: number, finishReason: FinishReason): object;
  whole(index: number, text: string, finishReason: FinishReason, logprobs: object | null): object;
  /** What the others are given where log-probabilities were asked for. */
  logprobs(tokens: readonly AnswerToken[], text: TextService): object;
}

export const COMPLETION_FORMAT: AnswerFormat = {
  idPrefix: "cmpl-",
  object: "text_completion",
  chunkObject: "text_completion",
  opening: () => undefined,
  delta: (index, text, logprobs) => ({ index, text, logprobs, finish_reason: null }),
  closing: (index, finish_reason) => ({ index, text: "", logprobs: null, finish_reason }),
  whole: (index, text, finish_reason, logprobs) => ({ index, text, logprobs, finish_reason }),
  logprobs: completionLogprobs,
};

export const CHAT_FORMAT: AnswerFormat = {
  idPrefix: "chatcmpl-",
  object: "chat.completion",
  chunkObject: "chat.completion.chunk",
  opening: (index) => ({ index, delta: { role: "assistant", content: "" }, logprobs: null, finish_reason: null }),
  delta: (index, content, logprobs) => ({ index, delta: { content }, logprobs, finish_reason: null }),
  closing: (index, finish_reason) => ({ index, delta: {}, logprobs: null, finish_reason }),
  whole: (index, content, finish_reason, logprobs) => ({
    ...{ index, message: { role: "assistant", content, refusal: null } },
    ...{ logprobs, finish_reason },
  }),
  logprobs: chatLogprobs,
};

/** Adds our own extension to an entry of `choices`. */
export function withPieces(choice: object, pieces: TextDelta["pieces"]): object {
  return { ...choice, canopy: { pieces } };
}
