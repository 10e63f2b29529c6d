/** Longest context that is compared, in tokens: longer matches count as this long. */
export const MAX_MATCH = 32;
/** A single token says too little about what follows it. */
export const MIN_MATCH = 2;
/** Most recent places that are looked at, which bounds the time of a look-up whatever the text. */
export const MAX_PLACES = 1024;
/** Of the places with the longest match, the most recent ones that are used. */
export const MAX_MATCHES = 32;

export interface SuffixMatch {
  /** Tokens before each of `ends` that equal the text's last ones; 0 where nothing was found. */
  readonly matchLen: number;
  /** Indices of the tokens that followed the match, most recent first. */
  readonly ends: readonly number[];
}

/**
 * Finds where a growing text's last tokens stood before. A hash chain over pairs of tokens, as in LZ77 compressors: a token
 * is added in O(1), a look-up follows one chain. Memory: two numbers a token, and an entry for each distinct pair.
 */
export class SuffixIndex {
  readonly tokenIds: number[] = [];
  /** Where the pair that ends at a token ended the time before, −1 for nowhere. */
  readonly #before: number[] = [];
  /** Where a pair ended last. */
  readonly #last = new Map<number, number>();

  append(tokenIds: readonly number[]): void {
    for (const tokenId of tokenIds) {
      const at = this.tokenIds.push(tokenId) - 1;
      const key = pairKey(this.tokenIds[at - 1] ?? 0, tokenId);
      this.#before.push(at === 0 ? -1 : (this.#last.get(key) ?? -1));
      if (at > 0) this.#last.set(key, at);
    }
  }

  /** Earlier places whose context agrees with the text's end the longest; matches may overlap that end. */
  longestMatch(): SuffixMatch {
    let matchLen = MIN_MATCH;
    let ends: number[] = [];
    let at = this.#before.at(-1) ?? -1;
    for (let places = 0; at >= 0 && places < MAX_PLACES; places++, at = this.#before[at] ?? -1) {
      const length = this.#matchLen(at);
      if (length > matchLen) {
        matchLen = length;
        ends = [];
      }
      if (length === matchLen && ends.length < MAX_MATCHES) ends.push(at + 1);
    }
    return { matchLen: ends.length > 0 ? matchLen : 0, ends };
  }

  /** How many tokens up to and with the one at `at` equal the text's last ones. */
  #matchLen(at: number): number {
    const { tokenIds } = this;
    const last = tokenIds.length - 1;
    const most = Math.min(MAX_MATCH, at + 1);
    let length = 0;
    while (length < most && tokenIds[at - length] === tokenIds[last - length]) length++;
    return length;
  }
}

/** Pairs that share a key only lengthen a chain: matches are compared token by token. */
function pairKey(first: number, second: number): number {
  return (first % 2 ** 26) * 2 ** 26 + (second % 2 ** 26);
}
