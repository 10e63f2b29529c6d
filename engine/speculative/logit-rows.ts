import {
  type Binding,
  type GatherRowsArgs,
  type GpuContext,
  gatherRows,
  inTurn,
  type Op,
  ROW_INFO_WORDS,
} from "../../kernels/index.ts";
import type { Activations } from "../runner/activations.ts";
import type { InputBuffers } from "../runner/inputs.ts";
import type { DecoderBuffers } from "../runner/model-runner.ts";

/** Rows that all have logits. Theirs are `hidden`, `q`, `rowInfo`, `logitRows` and `own`. */
export interface LogitRows {
  readonly activations: Activations;
  /** `slots` and `tokenIds` are of all rows of the pass. */
  readonly inputs: InputBuffers;
  readonly own: Binding;
}

/**
 * What a one-layer decoder does behind its rows' K and V, for the rows whose logits are wanted: of the others nothing but K and V is
 * ever read. Where all rows have logits they stay where they are, else they are gathered first; no bit of a row's
 * logits depends on that.
 * @param own u32 [maxRows, width]: what else the ops read of a row
 * @param opsOf ops of passes with as many rows as logits
 */
export async function onLogitRows(
  gpu: GpuContext,
  { activations: a, inputs }: Pick<DecoderBuffers, "activations" | "inputs">,
  own: { readonly rows: Binding; readonly width: number },
  opsOf: (rows: LogitRows) => readonly Promise<Op>[],
): Promise<Op> {
  const { maxRows, numInputs: hiddenSize } = a.features;
  const table = (from: Binding, width: number, label: string) => {
    return { from, width, out: gpu.pool.storage(4 * maxRows * width, label) };
  };
  const hidden = table(a.hidden, hiddenSize, "logitRows.hidden");
  const q = table(a.q, a.attended.numInputs, "logitRows.q");
  const rowInfo = table(inputs.rowInfo, ROW_INFO_WORDS, "logitRows.rowInfo");
  const others = table(own.rows, own.width, "logitRows.own");
  const gather = (tables: GatherRowsArgs["tables"]) =>
    gatherRows(gpu, { rows: inputs.logitRows, tables }, ({ numLogits }) => numLogits);
  const [all, some] = await Promise.all([
    inTurn(opsOf({ activations: a, inputs, own: own.rows })),
    inTurn([
      gather([hidden, q]),
      gather([rowInfo, others]),
      ...opsOf({
        activations: { ...a, hidden: hidden.out, q: q.out },
        inputs: { ...inputs, rowInfo: rowInfo.out, logitRows: inputs.identity },
        own: others.out,
      }),
    ]),
  ]);
  return (pass, size) => {
    const { numRows, numLogits, numSplits } = size;
    if (numLogits === 0) return;
    if (numLogits === numRows) all(pass, size);
    else some(pass, { numRows: numLogits, numSplits, numLogits });
  };
}
