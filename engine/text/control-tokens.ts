import type { AddedToken } from "./tokenizer-json.ts";

/** Some text and whether it may hold control tokens: only a template's own words may. */
export interface PromptPart {
  readonly text: string;
  readonly trusted: boolean;
}

/** Finds the spellings of control tokens in text: the leftmost, and of those that start there the longest. */
export class ControlTokens {
  readonly #bySpelling: ReadonlyMap<string, AddedToken>;
  readonly #pattern: RegExp | undefined;

  constructor(tokens: readonly AddedToken[]) {
    this.#bySpelling = new Map(tokens.map((token) => [token.content, token]));
    this.#pattern = spellingPattern([...this.#bySpelling.keys()]);
  }

  /** Every control token's spelling. */
  get spellings(): readonly string[] {
    return [...this.#bySpelling.keys()];
  }

  /**
   * Cuts a prompt at the control tokens of its trusted parts. What lies between two of them is one run of plain text,
   * whichever parts it came from, because merges reach across the border between template and content.
   * Order is kept, runs are not empty, and no two runs stand side by side.
   */
  split(parts: readonly PromptPart[]): (string | AddedToken)[] {
    const items: (string | AddedToken)[] = [];
    const addText = (text: string): void => {
      const last = items.at(-1);
      if (typeof last === "string") items[items.length - 1] = last + text;
      else if (text !== "") items.push(text);
    };
    for (const { text, trusted } of parts) {
      let end = 0;
      for (const match of trusted && this.#pattern ? text.matchAll(this.#pattern) : []) {
        addText(text.slice(end, match.index));
        const token = this.#bySpelling.get(match[0]);
        if (token) items.push(token);
        end = match.index + match[0].length;
      }
      addText(text.slice(end));
    }
    return items;
  }
}

/** Matches any of the spellings, longest first; undefined where there are none (an empty pattern matches everywhere). */
export function spellingPattern(spellings: readonly string[]): RegExp | undefined {
  if (spellings.length === 0) return undefined;
  const longestFirst = [...spellings].sort((a, b) => b.length - a.length);
  return new RegExp(longestFirst.map((s) => s.replace(/[\\^$.*+?()[\]{}|/]/g, "\\$&")).join("|"), "g");
}
