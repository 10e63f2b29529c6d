/** The UTF-16 units that Unicode leaves to private use: 6,400 characters that no change of case makes out of others. */
const FIRST = 0xe000;
const LAST = 0xf8ff;
const PRIVATE_USE = /[\uE000-\uF8FF]/g;

/**
 * Gives out private-use characters that occur in none of some texts, each one once.
 * @returns a function that throws when none is left.
 */
export function unusedCharacters(texts: readonly string[]): () => string {
  const used = new Set(texts.flatMap((text) => text.match(PRIVATE_USE) ?? []));
  let unit = FIRST;
  return () => {
    while (unit <= LAST) {
      const character = String.fromCharCode(unit++);
      if (!used.has(character)) return character;
    }
    throw new RangeError("the texts hold every private-use character");
  };
}

/** Swaps some characters (UTF-16 units) of texts for unused ones of the same length, and back. */
export class CharacterSwap {
  readonly #pattern: RegExp | undefined;
  readonly #texts: readonly string[];
  readonly #there = new Map<string, string>();
  readonly #back = new Map<string, string>();
  #unused: (() => string) | undefined;

  /** @param texts all that the swapped text may come together with; no swapped character is one of theirs. */
  constructor(characters: Iterable<string>, texts: readonly string[]) {
    this.#pattern = anyOf(characters);
    this.#texts = texts;
  }

  /** @throws RangeError when the texts leave no character to swap for. */
  swap(text: string): string {
    return this.#pattern ? text.replace(this.#pattern, (character) => this.#swapped(character)) : text;
  }

  restore(text: string): string {
    return this.#back.size === 0
      ? text
      : text.replace(PRIVATE_USE, (character) => this.#back.get(character) ?? character);
  }

  #swapped(character: string): string {
    let swapped = this.#there.get(character);
    if (swapped === undefined) {
      this.#unused ??= unusedCharacters(this.#texts);
      swapped = this.#unused();
      this.#there.set(character, swapped);
      this.#back.set(swapped, character);
    }
    return swapped;
  }
}

/** Matches any one of the characters (UTF-16 units); undefined where there are none. */
export function anyOf(characters: Iterable<string>): RegExp | undefined {
  const units = [...characters].map((character) => `\\u${character.charCodeAt(0).toString(16).padStart(4, "0")}`);
  return units.length === 0 ? undefined : new RegExp(`[${units.join("")}]`, "g");
}
