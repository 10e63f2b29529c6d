/** Longest context that is compared, in tokens: longer matches count as this long. */
export const MAX_MATCH = 32;
/** A single token says too little about what follows it. */
export const MIN_MATCH = 2;
/** Most recent places that are looked at, which bounds the time of a look-up whatever the text. */
export const MAX_PLACES = 1024;
/** Of the places with the longest match, the most recent ones that are used. */
export const MAX_MATCHES = 32;
/** Stands between texts of one index: no token, so that no match goes across it. */
export const TEXT_END = -1;

export interface SuffixMatch {
  /** Tokens before each of `ends` that equal the context's last ones; 0 where nothing was found. */
  readonly matchLen: number;
  /** Positions of the tokens that followed the match, most recent first. */
  readonly ends: readonly number[];
}

/**
 * Finds where the last tokens of a context stand in a growing text. A hash chain over pairs of tokens in a sliding window, as in
 * LZ77 compressors: a token is added in O(1), the oldest one is forgotten in O(1), a look-up follows one chain. Positions
 * count from the first token that was ever added. Memory: two numbers for each token of the window, and an entry for each
 * distinct pair.
 */
export class SuffixIndex {
  readonly #maxTokens: number;
  #numTokens = 0;
  /** Rings: position p is at p modulo `maxTokens`. */
  readonly #tokenIds: number[] = [];
  /** Where the pair that ends at a token ended the time before, −1 for nowhere. */
  readonly #before: number[] = [];
  /** Where a pair ended last. */
  readonly #last = new Map<number, number>();

  /** @param maxTokens of the window, at least 2 */
  constructor(maxTokens = Number.POSITIVE_INFINITY) {
    this.#maxTokens = maxTokens;
  }

  /** Tokens that were ever added: the position after the text's last one. */
  get numTokens(): number {
    return this.#numTokens;
  }

  /** Tokens that are remembered. */
  get numHeld(): number {
    return this.#tokenIds.length;
  }

  /** Entries for distinct pairs, at most one for each token that is held. */
  get numPairs(): number {
    return this.#last.size;
  }

  append(tokenIds: readonly number[]): void {
    for (const tokenId of tokenIds) {
      const position = this.#numTokens;
      const slot = this.#slot(position);
      if (position >= this.#maxTokens) this.#forget(position - this.#maxTokens);
      this.#tokenIds[slot] = tokenId;
      this.#numTokens++;
      if (position === 0) {
        this.#before[slot] = -1;
        continue;
      }
      const key = pairKey(this.at(position - 1), tokenId);
      this.#before[slot] = this.#last.get(key) ?? -1;
      this.#last.set(key, position);
    }
  }

  /** The token at a position of the window; TEXT_END outside of it. */
  at(position: number): number {
    if (position < this.#start || position >= this.#numTokens) return TEXT_END;
    return this.#tokenIds[this.#slot(position)] ?? TEXT_END;
  }

  /**
   * Places whose text agrees with the context's end the longest, but for the text's own end. Matches may overlap that end.
   * @param context its last MAX_MATCH tokens count
   */
  longestMatch(context: readonly number[]): SuffixMatch {
    let matchLen = MIN_MATCH;
    let ends: number[] = [];
    let at = this.#last.get(pairKey(context.at(-2) ?? TEXT_END, context.at(-1) ?? TEXT_END)) ?? -1;
    if (at === this.#numTokens - 1) at = this.#chained(at);
    for (let places = 0; at > this.#start && places < MAX_PLACES; places++, at = this.#chained(at)) {
      const length = this.#matchLen(at, context);
      if (length > matchLen) {
        matchLen = length;
        ends = [];
      }
      if (length === matchLen && ends.length < MAX_MATCHES) ends.push(at + 1);
    }
    return { matchLen: ends.length > 0 ? matchLen : 0, ends };
  }

  /** The window's first position. */
  get #start(): number {
    return this.#numTokens - this.#tokenIds.length;
  }

  #slot(position: number): number {
    return position % this.#maxTokens;
  }

  #chained(position: number): number {
    return this.#before[this.#slot(position)] ?? -1;
  }

  /** How many tokens up to and with the one at `position` equal the context's last ones. */
  #matchLen(position: number, context: readonly number[]): number {
    const last = context.length - 1;
    const most = Math.min(MAX_MATCH, context.length);
    let length = 0;
    while (length < most && this.at(position - length) === context[last - length]) length++;
    return length;
  }

  /** The window's first token is about to be overwritten: the pair that begins with it goes, unless it came again. */
  #forget(position: number): void {
    const key = pairKey(this.at(position), this.at(position + 1));
    if (this.#last.get(key) === position + 1) this.#last.delete(key);
  }
}

/** Pairs that share a key only lengthen a chain: matches are compared token by token. */
function pairKey(first: number, second: number): number {
  return (first % 2 ** 26) * 2 ** 26 + (second % 2 ** 26);
}
