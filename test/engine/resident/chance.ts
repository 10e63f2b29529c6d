import { vi } from "vitest";
import { Regrouping } from "../../../engine/regrouping.ts";
import { Random } from "../../support/random.ts";

/** Newcomers wait, and idle lanes stay, for as long as chance has it; until mocks are restored. */
export function leaveRegroupingToChance(seed: number): void {
  const random = new Random(seed);
  vi.spyOn(Regrouping.prototype, "holds").mockImplementation(() => random.next() < 0.9);
  vi.spyOn(Regrouping.prototype, "keepsIdle").mockImplementation(() => random.next() < 0.95);
}
