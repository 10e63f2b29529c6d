import type { LogitsProcessor } from "../../kernels/index.ts";
import type { DeviceDrafting } from "../resident/device-drafting.ts";
import type { SamplingParams } from "../sampling-params.ts";
import type { DraftTree } from "./draft-tree.ts";
import type { TreeShape } from "./tree-shape.ts";

/** What a request says of its text beyond the prompt. Drafts may use it; the text never depends on it. */
export interface Hints {
  /** What the output may be for the most part, as token ids. */
  readonly prediction?: readonly number[];
  /** What is kept of a sequence is used for sequences of the same salt alone. */
  readonly cacheSalt?: string;
}

/** Where the target's paged cache holds a sequence's computed tokens. Good until the step's own pass is submitted. */
export interface TargetProgress {
  /** A live view. */
  readonly blockTable: readonly number[];
  /** Leading tokens with final K/V, and with features where they are kept. */
  readonly numComputedTokens: number;
}

/** One sequence of a step for which candidates are wanted. */
export interface ProposeRequest {
  readonly id: string;
  /** All known tokens, prompt first; a live view that grows after the call. The last one becomes the tree's root. */
  readonly tokenIds: readonly number[];
  /** With `params.seed`, keys the target's noise: a drafter may draft with it. */
  readonly choice: number;
  readonly params: SamplingParams;
  /** What the target's logits go through before the next token is drawn, if anything: a drafter may let its own go through it too. */
  readonly processor?: LogitsProcessor | undefined;
  /** What the target has computed of it before this step's pass. */
  readonly target: TargetProgress;
  /** Most nodes that the tree may have, root included; at least 1. */
  readonly maxNodes: number;
  /** Deepest that a node may be; 0 asks for the root alone. */
  readonly maxDepth: number;
  /** Drafters that build trees level by level build this one; what others give is cut to it. */
  readonly shape?: TreeShape;
}

export interface KnownSequence {
  readonly id: string;
  /** Prompt and output so far. */
  readonly numTokens: number;
}

/**
 * Guesses how sequences go on. What it says never changes the text, only how many tokens a step emits, so a proposer
 * may guess in any way, and may always give the root alone.
 *
 * Obligations, checked for every proposer by one contract suite:
 * - `propose` gives one tree for each request, in their order; each satisfies `checkDraftTree`, its root is the last known
 *   token, and it has at most `maxNodes` nodes, none deeper than `maxDepth`.
 * - Equal calls in equal order give equal trees.
 * - `end` may come at any time, also while `propose` is pending. Afterwards the id is unknown, and may begin again with
 *   other tokens. For an unknown id, `propose` gives the root alone, and `observe` and `end` do nothing.
 *
 * What it may rely on: `begin` comes first, with the whole prompt, in a list that may be a live view; tokens never change, they
 * only grow, by what `observe` tells; a sequence that is preempted begins no second time; calls of `propose` do not overlap.
 */
export interface Proposer {
  readonly name: string;
  /** Of proposers that can draft on the device. */
  readonly onDevice?: DeviceDrafting | undefined;
  begin(id: string, tokenIds: readonly number[], hints?: Hints): void;
  propose(requests: readonly ProposeRequest[]): Promise<readonly DraftTree[]>;
  /** @param tokenIds emitted by this step: accepted tokens, then the bonus token */
  observe(id: string, tokenIds: readonly number[]): void;
  end(id: string): void;
  close(): void;
  /**
   * Of proposers with a cache of their own.
   * @param sequences those that have begun and not ended
   * @throws InvariantError where the cache is not sound, or holds something of others or more of them than they have
   */
  checkIntegrity?(sequences: readonly KnownSequence[]): void;
}
