import type { Binding, DraftRules } from "../../kernels/index.ts";
import type { BatchSequence } from "../runner/batch.ts";
import type { ProposeRequest } from "./proposer.ts";
import type { Candidate } from "./tree-builder.ts";

/** A sequence's rows of a pass, and the request that they are for. */
export interface ViewedRows {
  readonly request: ProposeRequest;
  readonly rows: BatchSequence;
}

/** Where a pass's rows say what they read of the target, and where its block tables are to be for that. */
export type ViewInputs =
  | { readonly kind: "text" }
  /** u32 [maxRows]: slots of features. They follow from the target's own tables. */
  | { readonly kind: "features"; readonly sources: Binding }
  /** Rows and tables of a cross-attention. */
  | { readonly kind: "keys"; readonly rowInfo: Binding; readonly tables: Exclude<Binding, GPUBuffer> };

/** What a decoder that drafts sees of its target beside the text: which rows it can compute, and what they read. */
export interface DraftView {
  readonly name: string;
  /** The row at position p holds token p + shift of the text. */
  readonly shift: number;
  /** Nodes that a level of a dynamic tree expands. */
  readonly numExpanded: number;
  /** How many rows, from position 0 on, can be computed by now. */
  numReady(request: ProposeRequest): number;
  /** Whether the target has computed what a draft needs. */
  canDraft(request: ProposeRequest): boolean;
  /** Tells the device what a pass's rows read of the target. To be called before each pass, with its whole batch. */
  writeSources(batch: readonly ViewedRows[]): void;
  /** What `writeSources` writes, where kernels do that. */
  readonly inputs: ViewInputs;
  /** Which of a node's candidates, best first, may become its children in a dynamic tree. */
  narrow(candidates: readonly Candidate[]): readonly Candidate[];
  /** The same for kernels; absent where nothing is narrowed. */
  readonly widths?: DraftRules["widths"];
}

/** A draft model of its own: it needs the tokens alone. */
export function plainView(numExpanded: number): DraftView {
  return {
    ...{ name: "draft", shift: 0, numExpanded },
    numReady: ({ tokenIds }) => tokenIds.length,
    canDraft: () => true,
    writeSources() {},
    inputs: { kind: "text" },
    narrow: (candidates) => candidates,
  };
}

/** The target has computed every token but the root: all drafters that read its cache wait for that. */
export function hasComputedAllButRoot({ tokenIds, target }: ProposeRequest): boolean {
  return tokenIds.length > 1 && target.numComputedTokens === tokenIds.length - 1;
}
