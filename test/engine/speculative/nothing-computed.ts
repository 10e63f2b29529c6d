import type { TargetProgress } from "../../../engine/speculative/proposer.ts";

/** What proposers are told that do not look at the target. */
export const NOTHING_COMPUTED: TargetProgress = { blockTable: [], numComputedTokens: 0 };
