import { vi } from "vitest";
import { sizeByChance } from "../../../bench/chance-sizes.ts";
import { Regrouping } from "../../../engine/regrouping.ts";
import { FixedTrees } from "../../../engine/speculative/budget/tree-policy.ts";
import { isPlain } from "../../../scheduler/output.ts";
import { Random } from "../../support/random.ts";

/** Newcomers wait, and idle lanes stay, for as long as chance has it; until mocks are restored. */
export function leaveRegroupingToChance(seed: number): void {
  const random = new Random(seed);
  vi.spyOn(Regrouping.prototype, "holds").mockImplementation(() => random.next() < 0.9);
  vi.spyOn(Regrouping.prototype, "keepsIdle").mockImplementation(() => random.next() < 0.95);
}

/** Trees of fixed size have, in each step of a run but the first, any size up to theirs, and share their rows or not; until mocks are restored. */
export function leaveSizesToChance(seed: number): void {
  const random = new Random(seed);
  vi.spyOn(FixedTrees.prototype, "next").mockImplementation(function (this: FixedTrees, limits) {
    return isPlain(limits) ? limits : sizeByChance(this.limits(), () => random.next());
  });
}
