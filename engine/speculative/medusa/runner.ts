import {
  type GpuContext,
  type LogitsProcessor,
  type MedusaChild,
  numMedusaParents,
  readMapped,
  readMedusaChildren,
  SAMPLING_ROW_BYTES,
  type SuccessorEntries,
  submitPass,
  writeSamplingRow,
} from "../../../kernels/index.ts";
import { samplingRowOf } from "../../runner/batch.ts";
import type { SamplingWants } from "../../runner/request-sampling.ts";
import type { SamplingParams } from "../../sampling-params.ts";
import { createHeadsPass, type HeadsPass, type MedusaSizes, type MedusaTarget } from "./heads-pass.ts";
import type { ChildrenOf } from "./likeliest-tree.ts";
import type { MedusaHead } from "./weights.ts";

/** A sequence that heads are asked about. */
export interface MedusaRow {
  /** Slot of the target's last feature. */
  readonly slot: number;
  /** The last known token, which is after it. */
  readonly rootTokenId: number;
  /** Absolute position of the token that head 0 guesses. */
  readonly position: number;
  readonly params: SamplingParams;
  readonly choice: number;
  /** What the heads' logits go through first. */
  readonly processor?: LogitsProcessor | undefined;
}

/** Medusa's heads on the device: from the target's last features to what they propose below every node, in one pass. */
export class MedusaRunner {
  readonly sizes: MedusaSizes;
  /** Kernels may write its inputs instead of `run`. */
  readonly pass: HeadsPass;
  readonly #gpu: GpuContext;
  readonly #childrenRead: GPUBuffer;

  private constructor(gpu: GpuContext, sizes: MedusaSizes, pass: HeadsPass) {
    this.sizes = sizes;
    this.pass = pass;
    this.#gpu = gpu;
    this.#childrenRead = gpu.pool.readback(pass.children.size, "medusaRead");
  }

  /** @throws GpuError */
  static async create(
    gpu: GpuContext,
    heads: readonly MedusaHead[],
    target: MedusaTarget,
    sizes: MedusaSizes,
    successors: SuccessorEntries,
  ): Promise<MedusaRunner> {
    return new MedusaRunner(gpu, sizes, await createHeadsPass(gpu, heads, target, sizes, successors));
  }

  /**
   * What every row's heads propose. It is the likeliest, however the target draws: a head does not know the tokens before its own, and
   * its guesses are too broad for the target's noise to pick the right one among them.
   * @throws RangeError for more rows than there is room for, GpuError
   */
  async run(rows: readonly MedusaRow[]): Promise<readonly ChildrenOf[]> {
    if (rows.length > this.sizes.maxNumSeqs) throw new RangeError(`at most ${this.sizes.maxNumSeqs} rows`);
    const { processing } = this.pass;
    const processors = processing.length === 0 ? [] : rows.flatMap(({ processor }) => processor ?? []);
    const wants = { processors, logprobs: false };
    await Promise.all(processing.map((one) => one.prepare(wants)));
    return this.#gpu.guard.run(async () => {
      this.#submit(rows, wants);
      const bytes = await readMapped(this.#childrenRead, this.#childBytes(rows.length));
      return rows.map((_, row) => this.#childrenOf(bytes, row));
    });
  }

  /** Whether passes can be encoded for which requests want this; `run` sees to it by itself. */
  isReady(wants: SamplingWants): boolean {
    return this.pass.processing.every((one) => one.isReady(wants));
  }

  #submit(rows: readonly MedusaRow[], wants: SamplingWants): void {
    const { device } = this.#gpu;
    const { slots, roots, samplingRows, samplingStride, headsPerGroup, numHeads, children, encode, processing } =
      this.pass;
    // What all groups share, by any of them.
    const [shared] = processing;
    shared?.load(wants.processors);
    const write = (buffer: GPUBuffer, wordOf: (row: MedusaRow) => number) =>
      device.queue.writeBuffer(buffer, 0, Uint32Array.from(rows, wordOf));
    write(slots, ({ slot }) => slot);
    write(roots, ({ rootTokenId }) => rootTokenId);
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
    encoder.copyBufferToBuffer(children, 0, this.#childrenRead, 0, this.#childBytes(rows.length));
    device.queue.submit([encoder.finish()]);
  }

  /** Of so many rows. */
  #childBytes(numRows: number): number {
    return numRows * (this.pass.children.size / this.sizes.maxNumSeqs);
  }

  /** Each list is read when it is first asked for: a tree asks for few of them, and for those again and again. */
  #childrenOf(bytes: ArrayBuffer, row: number): ChildrenOf {
    const { numHeads } = this.pass;
    const { topK } = this.sizes;
    const first = row * numMedusaParents(numHeads, topK);
    const lists = new Map<number, readonly MedusaChild[]>();
    return (depth, rank) => {
      if (depth >= numHeads) return [];
      const parent = depth === 0 ? 0 : 1 + (depth - 1) * topK + rank;
      const children = lists.get(parent) ?? readMedusaChildren(bytes, first + parent, topK);
      lists.set(parent, children);
      return children;
    };
  }
}
