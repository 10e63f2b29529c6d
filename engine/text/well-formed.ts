declare global {
  interface String {
    /** In Node 20, not yet in TypeScript's es2023 library. */
    toWellFormed(): string;
  }
}

/** The text with each lone surrogate replaced by U+FFFD, as UTF-8 would have it. */
export const toWellFormed = (text: string): string => text.toWellFormed();
