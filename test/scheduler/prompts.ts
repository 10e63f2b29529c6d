import { BLOCK_SIZE } from "../../kvcache/ids.ts";
import { VOCAB_SIZE } from "./fake-model.ts";

/**
 * What a prompt begins with: nothing in common with others, a system prompt, the text before it (a next turn), its prompt, or as much of
 * that as fills blocks.
 */
export type Beginning = "own" | "system" | "turn" | "choice" | "again";

/** Ends inside a block. */
const SYSTEM_PROMPT = Array.from({ length: 40 }, (_, i) => (7 * i) % VOCAB_SIZE);

/** Prompts that have something in common with those before them. */
export class Prompts {
  #lastPrompt: readonly number[] = [];
  /** What the latest sequence was to become. */
  #lastText: readonly number[] = [];

  /** @param own what follows the beginning; nothing does after "choice" and "again" */
  make(beginning: Beginning, own: readonly number[]): readonly number[] {
    if (beginning === "again") return this.#lastBlocks(own);
    if (beginning === "choice") return this.#lastPrompt.length > 0 ? this.#lastPrompt : own;
    if (beginning === "own") return own;
    return [...(beginning === "system" ? SYSTEM_PROMPT : this.#lastText), ...own];
  }

  remember(prompt: readonly number[], outputTokenIds: readonly number[]): void {
    this.#lastPrompt = prompt;
    this.#lastText = [...prompt, ...outputTokenIds];
  }

  /** The whole blocks of the latest prompt; `otherwise` where there are none. */
  #lastBlocks(otherwise: readonly number[]): readonly number[] {
    const whole = this.#lastPrompt.slice(0, this.#lastPrompt.length - (this.#lastPrompt.length % BLOCK_SIZE));
    return whole.length > 0 ? whole : otherwise;
  }
}
