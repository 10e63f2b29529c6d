import type { TokenBytes } from "./token-bytes.ts";

export interface DetokenizerOptions {
  /**
   * The tokens go on from a text, as a completion goes on from its prompt: the first one keeps its leading space.
   * Otherwise they are a text of their own, and the space that SentencePiece put before it is taken off.
   */
  readonly continuation?: boolean;
}

const SPACE = 0x20;

/** Turns a stream of ids into text, never emitting half a UTF-8 character. The past is never decoded again. */
export class Detokenizer {
  readonly #tokens: TokenBytes;
  // A byte order mark is a character of the text like any other.
  readonly #decoder = new TextDecoder("utf-8", { ignoreBOM: true });
  #numSpacesToStrip: number;

  constructor(tokens: TokenBytes, options: DetokenizerOptions = {}) {
    this.#tokens = tokens;
    this.#numSpacesToStrip = options.continuation === true ? 0 : tokens.numLeadingSpaces;
  }

  /** Text that became complete with this token, often "". Bytes that can never be UTF-8 become U+FFFD. */
  push(tokenId: number): string {
    const bytes = this.#tokens.tokenBytes(tokenId);
    if (bytes.length === 0) return "";
    return this.#decoder.decode(bytes.subarray(this.#strip(bytes)), { stream: true });
  }

  /** Ends the text: a character that was never completed becomes U+FFFD. */
  flush(): string {
    return this.#decoder.decode();
  }

  /** How many bytes at the front are SentencePiece's own spaces. */
  #strip(bytes: Uint8Array): number {
    let start = 0;
    while (this.#numSpacesToStrip > 0 && start < bytes.length) {
      if (bytes[start] !== SPACE) this.#numSpacesToStrip = 0;
      else {
        start++;
        this.#numSpacesToStrip--;
      }
    }
    return start;
  }
}
