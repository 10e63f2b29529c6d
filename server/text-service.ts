import { ChatTemplateError } from "../engine/errors.ts";
import { MAX_TEXT_LENGTH } from "../engine/text/chat-template.ts";
import type { ChatMessage, ModelText, TextOutput } from "../engine/text/model-text.ts";
import { ApiError } from "./errors.ts";

export type { ChatMessage, TextDelta, TextOutput } from "../engine/text/model-text.ts";

export interface OutputOptions {
  readonly continuation: boolean;
  readonly minTokens: number;
}

/**
 * All that the server knows about text. Methods that a client's input can make slow are asynchronous, so that they
 * can run elsewhere; they reject with the reason of `signal` once it is aborted, and what still waits is then not done.
 */
export interface TextService {
  /** Ids that end a turn or a text. */
  readonly endTokenIds: readonly number[];
  /** Token ids of a plain prompt, with a BOS where the model wants one. @throws ApiError invalid_value when too long. */
  encodePrompt(text: string, signal?: AbortSignal): Promise<readonly number[]>;
  /** Token ids of a text as an answer may hold it. @throws ApiError invalid_value when too long. */
  encodePrediction(text: string, signal?: AbortSignal): Promise<readonly number[]>;
  /**
   * Token ids of a conversation through the model's template, up to where the assistant's answer starts.
   * @throws ApiError template_error when there is no template or the template refuses the messages.
   */
  encodeChat(messages: readonly ChatMessage[], signal?: AbortSignal): Promise<readonly number[]>;
  /**
   * @param stop strings that end the text; they are not part of it.
   * @param options.minTokens stop strings are looked for in what comes after so many tokens
   */
  createOutput(stop: readonly string[], options: OutputOptions): TextOutput;
  /** One token alone, for people to look at. */
  decodeToken(tokenId: number): string;
  /** Its bytes, which need not be whole characters. */
  tokenBytes(tokenId: number): Uint8Array;
  /** Every token whose own text has `part` in it. */
  tokensContaining(part: string, signal?: AbortSignal): Promise<readonly number[]>;
  /** Ends what it runs elsewhere. */
  close(): Promise<void>;
}

/** Text in this process, with limits on what a client may send. */
export class LocalTextService implements TextService {
  readonly #text: ModelText;

  constructor(text: ModelText) {
    this.#text = text;
  }

  get endTokenIds(): readonly number[] {
    return this.#text.endTokenIds;
  }

  async encodePrompt(text: string, signal?: AbortSignal): Promise<readonly number[]> {
    signal?.throwIfAborted();
    checkLength(text.length, "prompt");
    return this.#text.encodePrompt(text);
  }

  async encodePrediction(text: string, signal?: AbortSignal): Promise<readonly number[]> {
    signal?.throwIfAborted();
    checkLength(text.length, "prediction");
    return this.#text.encodeAnswer(text);
  }

  async encodeChat(messages: readonly ChatMessage[], signal?: AbortSignal): Promise<readonly number[]> {
    signal?.throwIfAborted();
    checkLength(
      messages.reduce((sum, { content }) => sum + content.length, 0),
      "messages",
    );
    try {
      return this.#text.encodeChat(messages);
    } catch (error) {
      if (error instanceof ChatTemplateError) throw new ApiError(error.code, error.message, { param: "messages" });
      throw error;
    }
  }

  createOutput(stop: readonly string[], options: OutputOptions): TextOutput {
    return this.#text.createOutput(stop, options);
  }

  decodeToken(tokenId: number): string {
    return this.#text.decodeToken(tokenId);
  }

  tokenBytes(tokenId: number): Uint8Array {
    return this.#text.tokenBytes(tokenId);
  }

  async tokensContaining(part: string, signal?: AbortSignal): Promise<readonly number[]> {
    signal?.throwIfAborted();
    return this.#text.tokensContaining(part);
  }

  async close(): Promise<void> {}
}

/** @throws ApiError invalid_value */
export function checkLength(numChars: number, param: string): void {
  if (numChars <= MAX_TEXT_LENGTH) return;
  const message = `${param} has ${numChars} characters, at most ${MAX_TEXT_LENGTH} are taken; send less text`;
  throw new ApiError("invalid_value", message, { param });
}
