import { CAPE_STEPS, type CapeStep } from "./glide/cape.ts";

/** How many candidates drafters of some kinds take. */
export interface DraftWidths {
  /** GLIDE, of a position, by its confidence. */
  readonly cape: readonly CapeStep[];
  /** Each Medusa head; at least the tree's own top k. */
  readonly medusaCandidates: number;
}

/** Medusa's trees grow wide where those of other drafters grow deep. */
export const DRAFT_WIDTHS: DraftWidths = { cape: CAPE_STEPS, medusaCandidates: 32 };
