import type { BufferPool } from "../../../kernels/index.ts";
import { type DraftView, hasComputedAllButRoot } from "../draft-view.ts";
import { type CapeStep, capeWidths, widenByConfidence } from "./cape.ts";
import type { CrossInputs } from "./cross-inputs.ts";

/**
 * GLIDE's view: K and V of its own attention need the tokens alone, so that all known ones are computed at once; a draft
 * looks at the target's cache, once that holds everything before the root.
 */
export function glideView(
  pool: BufferPool,
  cross: CrossInputs,
  numExpanded: number,
  cape: readonly CapeStep[],
): DraftView {
  return {
    ...{ name: "glide", shift: 0, numExpanded },
    numReady: ({ tokenIds }) => tokenIds.length,
    canDraft: hasComputedAllButRoot,
    writeSources: (batch) => cross.write(batch),
    inputs: { kind: "keys", rowInfo: cross.rowInfo, tables: cross.tables },
    narrow: (candidates) => widenByConfidence(candidates, cape),
    ...(cape.length > 0 ? { widths: { buffer: pool.upload(capeWidths(cape), "cape"), count: cape.length } } : {}),
  };
}
