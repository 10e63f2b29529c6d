import { Calibration, calibrationError, type ReliabilityBin } from "../engine/speculative/budget/calibration.ts";
import { judged, type VerifiedDraft } from "../engine/speculative/budget/verified-draft.ts";
import { survivals } from "../engine/speculative/draft-tree.ts";
import { linePlot, type Series } from "./svg.ts";

const NUM_BINS = 10;

/** How far estimates of survival can be trusted: as drafters give them, and as they are corrected while they are used. */
export class Reliability {
  readonly #raw = Array.from({ length: NUM_BINS }, () => ({ predicted: 0, observed: 0, count: 0 }));
  readonly #calibration = new Calibration();

  observe(draft: VerifiedDraft): void {
    const known = judged(draft);
    for (const [node, survival] of survivals(draft.tree).entries()) {
      const bin = this.#raw[Math.min(NUM_BINS - 1, Math.floor(survival * NUM_BINS))];
      if (node === 0 || bin === undefined) continue;
      bin.predicted += survival;
      bin.observed += known.outcomes[node] ?? 0;
      bin.count++;
    }
    this.#calibration.observe(known);
  }

  /** Of the drafter's own word. */
  get raw(): readonly ReliabilityBin[] {
    return this.#raw
      .filter(({ count }) => count > 0)
      .map(({ predicted, observed, count }) => ({ predicted: predicted / count, observed: observed / count, count }));
  }

  /** Of each estimate as it was corrected by what had been seen before it. */
  get calibrated(): readonly ReliabilityBin[] {
    return this.#calibration.reliability;
  }

  get rawError(): number {
    return calibrationError(this.raw);
  }

  get calibratedError(): number {
    return this.#calibration.error;
  }
}

/** Predicted survival against observed: what lies on the diagonal is right. */
export function reliabilityPlot(
  title: string,
  drafters: readonly { readonly name: string; readonly bins: readonly ReliabilityBin[] }[],
): string {
  const lines: Series[] = drafters.map(({ name, bins }) => ({
    name,
    points: bins.map(({ predicted, observed }) => [predicted, observed] as const),
  }));
  const exact: Series = { name: "exact", points: [0, 1].map((x) => [x, x] as const) };
  return linePlot({ title, x: "predicted survival of a node", y: "observed", scale: "share" }, [...lines, exact]);
}
