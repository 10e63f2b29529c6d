import type { VerifiedDraft } from "./verified-draft.ts";

/** Trees of a step that are learned from at most. */
const SIZE = 6;

/** A few trees of a step say enough: the host has better things to do. Others come first in each. */
export class DraftSample {
  #first = 0;

  of(drafts: readonly VerifiedDraft[]): readonly VerifiedDraft[] {
    if (drafts.length <= SIZE) return drafts;
    this.#first = (this.#first + SIZE) % drafts.length;
    return [...drafts.slice(this.#first), ...drafts].slice(0, SIZE);
  }
}
