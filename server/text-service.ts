/** One message of a conversation, its parts already joined. */
export interface ChatMessage {
  readonly role: string;
  readonly content: string;
}

/** Text that some tokens added, and what became of them. */
export interface TextDelta {
  /** Ready to be sent; text that may still turn out to be a stop string or half a character is held back. */
  readonly text: string;
  /** How many of the pushed tokens count: fewer than all only where a stop string ended inside them. */
  readonly numTokens: number;
  /** A stop string came up. `text` ends before it, and nothing may be pushed any more. */
  readonly stopped: boolean;
}

/** Turns one sequence's tokens into text as they come. */
export interface TextOutput {
  push(tokenIds: readonly number[]): TextDelta;
  /** What was held back, once no token can follow. */
  flush(): string;
}

/**
 * All that the server knows about text. Methods that a client's input can make slow are asynchronous, so that they
 * can run elsewhere.
 */
export interface TextService {
  /** Ids that end a turn or a text. */
  readonly endTokenIds: readonly number[];
  /** Token ids of a plain prompt, with a BOS where the model wants one. */
  encodePrompt(text: string): Promise<readonly number[]>;
  /**
   * Token ids of a conversation through the model's template, up to where the assistant's answer starts.
   * @throws ApiError template_error when there is no template or the template refuses the messages.
   */
  encodeChat(messages: readonly ChatMessage[]): Promise<readonly number[]>;
  /** @param stop strings that end the text; they are not part of it. */
  createOutput(stop: readonly string[]): TextOutput;
  /** One token alone, for people to look at. */
  decodeToken(tokenId: number): string;
}
