import type { TextDelta } from "../text-service.ts";

type FinishReason = "stop" | "length";

/** How completions and chat write the same things differently. Each returns an entry of `choices`. */
export interface AnswerFormat {
  readonly idPrefix: string;
  readonly object: string;
  readonly chunkObject: string;
  /** What a streamed choice begins with, if anything. */
  opening(index: number): object | undefined;
  delta(index: number, text: string): object;
  /** What a streamed choice ends with. */
  closing(index: number, finishReason: FinishReason): object;
  whole(index: number, text: string, finishReason: FinishReason): object;
}

export const COMPLETION_FORMAT: AnswerFormat = {
  idPrefix: "cmpl-",
  object: "text_completion",
  chunkObject: "text_completion",
  opening: () => undefined,
  delta: (index, text) => ({ index, text, logprobs: null, finish_reason: null }),
  closing: (index, finish_reason) => ({ index, text: "", logprobs: null, finish_reason }),
  whole: (index, text, finish_reason) => ({ index, text, logprobs: null, finish_reason }),
};

export const CHAT_FORMAT: AnswerFormat = {
  idPrefix: "chatcmpl-",
  object: "chat.completion",
  chunkObject: "chat.completion.chunk",
  opening: (index) => ({ index, delta: { role: "assistant", content: "" }, logprobs: null, finish_reason: null }),
  delta: (index, content) => ({ index, delta: { content }, logprobs: null, finish_reason: null }),
  closing: (index, finish_reason) => ({ index, delta: {}, logprobs: null, finish_reason }),
  whole: (index, content, finish_reason) => ({
    ...{ index, message: { role: "assistant", content, refusal: null } },
    ...{ logprobs: null, finish_reason },
  }),
};

/** Adds our own extension to an entry of `choices`. */
export function withPieces(choice: object, pieces: TextDelta["pieces"]): object {
  return { ...choice, canopy: { pieces } };
}
