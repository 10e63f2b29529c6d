import type { Detokenizer } from "./detokenizer.ts";
import type { StopMatcher } from "./stop-matcher.ts";

/** Text of one token, or the part of it that was not sent before. */
export interface TextPiece {
  readonly text: string;
  /** The token was drafted and accepted. */
  readonly accepted: boolean;
}

/** Text that some tokens added. */
export interface TextDelta {
  /** Ready to be sent; text that may still become a stop string or is half a character is held back. */
  readonly text: string;
  /** `text` cut at the tokens it came from, in order. Joined they are `text`; none is empty. */
  readonly pieces: readonly TextPiece[];
  /**
   * Tokens that are out with this text: all of theirs is, or they begin before the stop string that came up. For each, where
   * in the whole text it begins, in UTF-16 units.
   */
  readonly tokenStarts: readonly number[];
  /** How many of the pushed tokens count: fewer than all only where a stop string ended inside them. */
  readonly numTokens: number;
  /** A stop string came up: `text` ends before it, nothing may be pushed any more. */
  readonly stopped: boolean;
}

/** Turns one sequence's tokens into text as they come. */
export interface TextOutput {
  /** @param numAccepted how many of the tokens, from the first, were drafted and accepted. */
  push(tokenIds: readonly number[], numAccepted: number): TextDelta;
  /** What was held back, once no token can follow: nothing after a stop. */
  flush(): TextDelta;
}

/** Where a token's text lies in the whole text, in UTF-16 units. */
interface Span {
  readonly start: number;
  readonly end: number;
}

/** The one TextOutput: detokenizes, watches for stop strings and holds back what may become one. */
export class StoppingTextOutput implements TextOutput {
  readonly #detokenizer: Detokenizer;
  readonly #stops: StopMatcher;
  /** Text not sent yet, by token. Between calls it is as long as what the matcher calls pending. */
  #held: TextPiece[] = [];
  #numHeld = 0;
  /** Length of the text that was sent. */
  #numSent = 0;
  /** Of the tokens that are not out yet. */
  #spans: Span[] = [];
  #numPushed = 0;
  readonly #minTokens: number;
  #ended = false;

  /** @param minTokens stop strings are looked for in what comes after so many tokens */
  constructor(detokenizer: Detokenizer, stops: StopMatcher, minTokens = 0) {
    this.#detokenizer = detokenizer;
    this.#stops = stops;
    this.#minTokens = minTokens;
  }

  push(tokenIds: readonly number[], numAccepted: number): TextDelta {
    if (this.#ended) throw new Error("invariant: tokens were pushed after the end of the text");
    for (const [i, tokenId] of tokenIds.entries()) {
      const text = this.#detokenizer.push(tokenId);
      const match = this.#numPushed++ < this.#minTokens ? undefined : this.#stops.read(text);
      const start = this.#numSent + this.#numHeld;
      this.#hold({ text: match ? text.slice(0, match.end) : text, accepted: i < numAccepted });
      this.#spans.push({ start, end: this.#numSent + this.#numHeld });
      if (match) {
        this.#ended = true;
        const delta = this.#release(this.#numHeld - match.length, { numTokens: i + 1, stopped: true });
        this.#held = [];
        this.#numHeld = 0;
        this.#spans = [];
        return delta;
      }
    }
    return this.#release(this.#numHeld - this.#stops.numPending, { numTokens: tokenIds.length, stopped: false });
  }

  flush(): TextDelta {
    if (!this.#ended) {
      this.#ended = true;
      // A character that will never be whole belongs to no token that was accepted.
      this.#hold({ text: this.#detokenizer.flush(), accepted: false });
    }
    return this.#release(this.#numHeld, { numTokens: 0, stopped: false });
  }

  #hold(piece: TextPiece): void {
    if (piece.text === "") return;
    this.#held.push(piece);
    this.#numHeld += piece.text.length;
  }

  /** Lets go of the first `length` units of the held text; the token they end in keeps the rest. */
  #release(length: number, rest: Pick<TextDelta, "numTokens" | "stopped">): TextDelta {
    const pieces: TextPiece[] = [];
    const kept: TextPiece[] = [];
    let left = length;
    for (const piece of this.#held) {
      if (left > 0) pieces.push({ ...piece, text: piece.text.slice(0, left) });
      if (left < piece.text.length) kept.push({ ...piece, text: piece.text.slice(left) });
      left = Math.max(0, left - piece.text.length);
    }
    this.#held = kept;
    this.#numHeld -= length;
    this.#numSent += length;
    return { text: pieces.map(({ text }) => text).join(""), pieces, tokenStarts: this.#takeOut(rest.stopped), ...rest };
  }

  /** Of tokens whose text has been sent; at a stop also of the one that is cut. */
  #takeOut(stopped: boolean): number[] {
    const isOut = ({ start, end }: Span) => end <= this.#numSent || (stopped && start < this.#numSent);
    const out = this.#spans.filter(isOut);
    this.#spans = this.#spans.slice(out.length);
    return out.map(({ start }) => start);
  }
}
