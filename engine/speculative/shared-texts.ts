import { SuffixIndex, TEXT_END } from "./suffix-index.ts";

export interface SharedTextsLimits {
  /** Tokens that are remembered for one salt; the oldest are forgotten first. */
  readonly maxTokensPerSalt: number;
  /** Tokens that are remembered in all; beyond them the salt that was used least recently is forgotten as a whole. */
  readonly maxTokens: number;
}

/** About 10 MB of numbers and pairs. */
const DEFAULT_LIMITS: SharedTextsLimits = { maxTokensPerSalt: 2 ** 16, maxTokens: 2 ** 17 };

/**
 * Texts that ended, for other requests to be drafted from: the global structure of SuffixDecoding (arXiv 2411.04975). Texts of
 * different salts never meet.
 */
export class SharedTexts {
  readonly #limits: SharedTextsLimits;
  /** By salt, the least recently used one first. */
  readonly #indices = new Map<string, SuffixIndex>();
  #numTokens = 0;

  constructor(limits: SharedTextsLimits = DEFAULT_LIMITS) {
    this.#limits = limits;
  }

  /** Tokens that are remembered now. */
  get numTokens(): number {
    return this.#numTokens;
  }

  /** Texts of a salt; undefined where there are none. Counts as a use of them. */
  of(salt: string): SuffixIndex | undefined {
    const index = this.#indices.get(salt);
    if (index === undefined) return undefined;
    this.#indices.delete(salt);
    this.#indices.set(salt, index);
    return index;
  }

  add(salt: string, tokenIds: readonly number[]): void {
    const index = this.of(salt) ?? new SuffixIndex(this.#limits.maxTokensPerSalt);
    this.#indices.set(salt, index);
    this.#numTokens -= index.numHeld;
    index.append(tokenIds);
    index.append([TEXT_END]);
    this.#numTokens += index.numHeld;
    for (const [oldest, { numHeld }] of this.#indices) {
      if (this.#numTokens <= this.#limits.maxTokens || oldest === salt) break;
      this.#indices.delete(oldest);
      this.#numTokens -= numHeld;
    }
  }
}
