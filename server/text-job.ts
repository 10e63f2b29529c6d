import type { ChatMessage } from "../engine/text/model-text.ts";
import type { ErrorCode } from "./errors.ts";
import type { TextService } from "./text-service.ts";

/** A piece of work for the text thread; named as the method of `TextService` that asks for it. */
export type TextJob =
  | { readonly method: "encodePrompt" | "encodePrediction" | "tokensContaining"; readonly text: string }
  | { readonly method: "encodeChat"; readonly messages: readonly ChatMessage[] };

/** What came of a job. Errors as data: structured clones keep no classes. */
export type TextResult =
  | { readonly ids: Uint32Array<ArrayBuffer> }
  | { readonly refusal: { readonly code: ErrorCode; readonly message: string; readonly param: string | null } }
  | { readonly failure: string };

export function runTextJob(text: TextService, job: TextJob): Promise<readonly number[]> {
  return job.method === "encodeChat" ? text.encodeChat(job.messages) : text[job.method](job.text);
}
