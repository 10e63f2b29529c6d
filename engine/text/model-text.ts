import { ChatTemplateError } from "../errors.ts";
import type { TextAssets } from "../model/types.ts";
import { type ChatMessage, ChatTemplate } from "./chat-template.ts";
import { Detokenizer } from "./detokenizer.ts";
import { StopMatcher } from "./stop-matcher.ts";
import { StoppingTextOutput, type TextOutput } from "./text-output.ts";
import { Tokenizer } from "./tokenizer.ts";

export type { ChatMessage } from "./chat-template.ts";
export type { TextDelta, TextOutput } from "./text-output.ts";

/** All that a model knows of text: prompts and conversations to ids, ids to text that stops where it is told to. */
export class ModelText {
  /** Every id that ends a turn or a text. */
  readonly endTokenIds: readonly number[];
  /** One more than the tokenizer's highest id; the model's own may be higher, where its tensors are padded. */
  readonly vocabSize: number;
  readonly #tokenizer: Tokenizer;
  readonly #template: ChatTemplate | ChatTemplateError;
  /** Text of every token, once it has been asked for. */
  #decoded: readonly string[] | undefined;

  /** @throws ModelFileError when tokenizer.json is malformed or of a kind that is not supported. */
  constructor(assets: TextAssets) {
    this.#tokenizer = new Tokenizer(assets);
    this.endTokenIds = assets.endTokenIds;
    this.vocabSize = this.#tokenizer.vocabSize;
    this.#template = readTemplate(assets, this.#tokenizer);
  }

  /**
   * Ids of a plain prompt, with a BOS in front where the model wants one. Control tokens spelled in the text are text,
   * lone surrogates become U+FFFD. Time grows with the text, which is for the caller to limit.
   */
  encodePrompt(text: string): readonly number[] {
    return this.#tokenizer.encode(text, { allowControl: false, addBos: true });
  }

  /** Ids of a text as an answer may hold it. Time grows with the text, which is for the caller to limit. */
  encodeAnswer(text: string): readonly number[] {
    return this.#tokenizer.encode(text, { allowControl: false, addBos: false });
  }

  /**
   * Ids of a conversation up to where the assistant's answer begins. The template alone writes control tokens, a BOS
   * among them; those spelled in the messages are text.
   * @throws ChatTemplateError when there is no template, or it refuses the messages, or they are too many or too long.
   */
  encodeChat(messages: readonly ChatMessage[]): readonly number[] {
    // A model without a usable template still completes plain prompts, so the error waits for the first conversation.
    if (this.#template instanceof ChatTemplateError) throw this.#template;
    return this.#tokenizer.encodeParts(this.#template.render(messages));
  }

  /**
   * @param stop strings that end the text, not part of it; the first one to be completed counts, and of those that
   *   the same character completes the longest. Empty ones are left out.
   * @param options.continuation the text goes on from a plain prompt, so it may begin with a space.
   * @param options.minTokens stop strings are looked for in what comes after so many tokens.
   */
  createOutput(
    stop: readonly string[],
    options: { readonly continuation?: boolean; readonly minTokens?: number } = {},
  ): TextOutput {
    const detokenizer = new Detokenizer(this.#tokenizer, options);
    return new StoppingTextOutput(detokenizer, new StopMatcher(stop), options.minTokens);
  }

  /** One token alone, for people to look at: a control token's spelling, U+FFFD for a part of a character. */
  decodeToken(tokenId: number): string {
    if (this.#tokenizer.isControl(tokenId)) return this.#tokenizer.pieceOf(tokenId) ?? "";
    const detokenizer = new Detokenizer(this.#tokenizer, { continuation: true });
    return detokenizer.push(tokenId) + detokenizer.flush();
  }

  /** UTF-8 of what `decodeToken` shows; of a part of a character its own bytes. */
  tokenBytes(tokenId: number): Uint8Array {
    const { length } = this.#tokenizer.tokenBytes(tokenId);
    return length > 0 ? this.#tokenizer.tokenBytes(tokenId) : new TextEncoder().encode(this.decodeToken(tokenId));
  }

  /** Every token whose own text has `part` in it; control tokens have none. */
  tokensContaining(part: string): readonly number[] {
    const utf8 = new TextDecoder();
    this.#decoded ??= Array.from({ length: this.vocabSize }, (_, id) => utf8.decode(this.#tokenizer.tokenBytes(id)));
    return this.#decoded.flatMap((text, id) => (text.includes(part) ? [id] : []));
  }
}

function readTemplate(assets: TextAssets, tokenizer: Tokenizer): ChatTemplate | ChatTemplateError {
  if (assets.chatTemplate === undefined)
    return new ChatTemplateError("the model's files hold no chat template: use a plain completion");
  const spellingOf = (id: number | undefined): string => (id === undefined ? "" : (tokenizer.pieceOf(id) ?? ""));
  try {
    return new ChatTemplate(assets.chatTemplate, {
      controlSpellings: tokenizer.controlSpellings,
      bosToken: spellingOf(assets.bosTokenId),
      eosToken: spellingOf(assets.endTokenIds[0]),
    });
  } catch (error) {
    if (error instanceof ChatTemplateError) return error;
    throw error;
  }
}
