import {
  type GpuContext,
  type LogitsProcessor,
  readMapped,
  SAMPLING_ROW_BYTES,
  submitPass,
  writeSamplingRow,
} from "../../../kernels/index.ts";
import { samplingRowOf } from "../../runner/batch.ts";
import type { SamplingWants } from "../../runner/request-sampling.ts";
import type { SamplingParams } from "../../sampling-params.ts";
import { type Candidate, drawnCandidates } from "../tree-builder.ts";
import { createHeadsPass, type HeadsPass, type MedusaSizes, type MedusaTarget } from "./heads-pass.ts";
import type { MedusaHead } from "./weights.ts";

/** A sequence that heads are asked about. */
export interface MedusaRow {
  /** Slot of the target's last feature. */
  readonly slot: number;
  /** Absolute position of the token that head 0 guesses. */
  readonly position: number;
  readonly params: SamplingParams;
  readonly choice: number;
  /** What the heads' logits go through first. */
  readonly processor?: LogitsProcessor | undefined;
}

/** Medusa's heads on the device: from the target's last features to each head's best tokens, in one pass. */
export class MedusaRunner {
  readonly sizes: MedusaSizes;
  /** Kernels may write its inputs instead of `run`. */
  readonly pass: HeadsPass;
  readonly #gpu: GpuContext;
  readonly #resultsRead: GPUBuffer;

  private constructor(gpu: GpuContext, sizes: MedusaSizes, pass: HeadsPass) {
    this.sizes = sizes;
    this.pass = pass;
    this.#gpu = gpu;
    this.#resultsRead = gpu.pool.readback(pass.results.size, "medusaRead");
  }

  /** @throws GpuError */
  static async create(
    gpu: GpuContext,
    heads: readonly MedusaHead[],
    target: MedusaTarget,
    sizes: MedusaSizes,
  ): Promise<MedusaRunner> {
    return new MedusaRunner(gpu, sizes, await createHeadsPass(gpu, heads, target, sizes));
  }

  /**
   * Candidates of every row's heads, best first: `[row][head]`. They are the likeliest, however the target draws: a head does not know the
   * tokens before its own, and its guesses are too broad for the target's noise to pick the right one among them.
   * @throws RangeError for more rows than there is room for, GpuError
   */
  async run(rows: readonly MedusaRow[]): Promise<readonly (readonly (readonly Candidate[])[])[]> {
    if (rows.length > this.sizes.maxNumSeqs) throw new RangeError(`at most ${this.sizes.maxNumSeqs} rows`);
    const { processing } = this.pass;
    const processors = processing.length === 0 ? [] : rows.flatMap(({ processor }) => processor ?? []);
    const wants = { processors, logprobs: false };
    await Promise.all(processing.map((one) => one.prepare(wants)));
    return this.#gpu.guard.run(async () => {
      this.#submit(rows, wants);
      const bytes = await readMapped(this.#resultsRead);
      return rows.map((_, row) =>
        Array.from({ length: this.pass.numHeads }, (__, head) => this.#candidates(bytes, head, row, rows.length)),
      );
    });
  }

  /** Whether passes can be encoded for which requests want this; `run` sees to it by itself. */
  isReady(wants: SamplingWants): boolean {
    return this.pass.processing.every((one) => one.isReady(wants));
  }

  #submit(rows: readonly MedusaRow[], wants: SamplingWants): void {
    const { device } = this.#gpu;
    const { slots, samplingRows, samplingStride, headsPerGroup, numHeads, results, encode, processing } = this.pass;
    // What all groups share, by any of them.
    const [shared] = processing;
    shared?.load(wants.processors);
    device.queue.writeBuffer(
      slots,
      0,
      Uint32Array.from(rows, ({ slot }) => slot),
    );
    const view = new DataView(new ArrayBuffer((numHeads / headsPerGroup) * samplingStride * SAMPLING_ROW_BYTES));
    for (let head = 0; head < numHeads; head++) {
      const first = Math.floor(head / headsPerGroup) * samplingStride + (head % headsPerGroup) * rows.length;
      for (const [i, { params, choice, position, processor }] of rows.entries()) {
        const at = processor ? wants.processors.indexOf(processor) : -1;
        const row = samplingRowOf({ ...params, temperature: 0 }, choice, position + head);
        writeSamplingRow(view, first + i, at < 0 ? row : { ...row, processor: at });
      }
    }
    device.queue.writeBuffer(samplingRows, 0, view.buffer);
    submitPass(device, (pass) => {
      shared?.encodeCounts(pass, wants);
      encode(pass, rows.length, wants);
    });
    const encoder = device.createCommandEncoder();
    encoder.copyBufferToBuffer(results, 0, this.#resultsRead, 0, results.size);
    device.queue.submit([encoder.finish()]);
  }

  #candidates(bytes: ArrayBuffer, head: number, row: number, numRows: number): Candidate[] {
    const { headsPerGroup, resultStride } = this.pass;
    const at = 4 * 2 * Math.floor(head / headsPerGroup) * resultStride;
    const tokenIds = new Uint32Array(bytes, at);
    const logShares = new Float32Array(bytes, at + 4 * resultStride);
    return drawnCandidates({ tokenIds, logShares }, (head % headsPerGroup) * numRows + row, this.sizes.topK);
  }
}
