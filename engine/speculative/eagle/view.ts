import { type DraftView, hasComputedAllButRoot } from "../draft-view.ts";
import type { FeatureSources } from "./feature-sources.ts";

/**
 * EAGLE's view: the row at position t holds token t + 1 and the target's feature t, so that it can be computed once the target
 * has computed token t; a draft starts at the last of the target's features.
 */
export function eagleView(sources: FeatureSources, numExpanded: number): DraftView {
  return {
    ...{ name: "eagle", shift: 1, numExpanded },
    numReady: ({ target }) => target.numComputedTokens,
    canDraft: hasComputedAllButRoot,
    writeSources: (batch) => sources.write(batch),
    inputs: { kind: "features", sources: sources.buffer },
    narrow: (candidates) => candidates,
  };
}
