import type { DrafterFigures } from "../speculation.ts";
import { table } from "../table.ts";

export function speedupTable(drafters: readonly DrafterFigures[]): string {
  return table(
    ["drafter", "tokens/s", "speed-up", "acceptance length", "accepted of drafted"],
    drafters.map((d) => [
      d.drafter,
      d.tokensPerSecond.toFixed(1),
      `${d.speedup.toFixed(2)}×`,
      d.acceptanceLength.toFixed(2),
      `${(100 * d.acceptedShare).toFixed(0)} %`,
    ]),
  );
}
