/** Trees of a step that are learned from at most. */
const MOST = 6;
/** And of a ms: a tree takes the host 3 to 20 µs, and short steps wait for the host. */
const TREES_PER_MS = 1;

/** A few trees say enough: the host has better things to do. Others come first in each step. */
export class DraftSample {
  #first = 0;
  /** Trees that time has been saved up for. */
  #allowed = MOST;

  /** @param stepMs what the step took */
  of<Draft>(drafts: readonly Draft[], stepMs: number): readonly Draft[] {
    this.#allowed = Math.min(MOST, this.#allowed + TREES_PER_MS * stepMs);
    const size = Math.min(drafts.length, Math.floor(this.#allowed));
    if (size === 0) return [];
    this.#allowed -= size;
    this.#first = (this.#first + size) % drafts.length;
    const fromFirst = drafts.slice(this.#first, this.#first + size);
    return [...fromFirst, ...drafts.slice(0, size - fromFirst.length)];
  }
}
