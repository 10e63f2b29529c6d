import {
  type Activation,
  type Binding,
  type FeatureStore,
  type GpuContext,
  gatherFeatures,
  matmul,
  medusaBlock,
  type Op,
  type PackedMatrix,
  type PassSize,
  paddedRows,
  readMapped,
  SAMPLING_ROW_BYTES,
  sample,
  samplerScratch,
  submitPass,
  writeSamplingRow,
} from "../../../kernels/index.ts";
import { productShapes } from "../../model/product-shapes.ts";
import type { LlamaConfig } from "../../model/types.ts";
import { createActivation, createProduct } from "../../runner/activations.ts";
import { samplingRowOf } from "../../runner/batch.ts";
import type { SamplingParams } from "../../sampling-params.ts";
import { type Candidate, drawnCandidates } from "../tree-builder.ts";
import type { MedusaHead } from "./weights.ts";

/** A sequence that heads are asked about. */
export interface MedusaRow {
  /** Slot of the target's last feature. */
  readonly slot: number;
  /** Absolute position of the token that head 0 guesses. */
  readonly position: number;
  readonly params: SamplingParams;
  readonly choice: number;
}

export interface MedusaSizes {
  readonly maxNumSeqs: number;
  /** Candidates of each head. */
  readonly topK: number;
}

/** What the heads look at, and whose LM head serves those that have none. */
export interface MedusaTarget {
  readonly config: LlamaConfig;
  readonly lmHead: PackedMatrix;
  readonly features: FeatureStore;
}

/** Heads that share an LM head: their rows, head after head, go through it in one product. */
interface Group {
  readonly heads: readonly MedusaHead[];
  readonly lmHead: PackedMatrix;
}

/** Bytes from one section of a buffer to the next. */
const SECTION = 256;

/** Medusa's heads on the device: from the target's last features to each head's best tokens, in one pass. */
export class MedusaRunner {
  readonly numHeads: number;
  readonly #gpu: GpuContext;
  readonly #sizes: MedusaSizes;
  readonly #slots: GPUBuffer;
  readonly #samplingRows: GPUBuffer;
  readonly #groupSizes: readonly number[];
  readonly #encode: (pass: GPUComputePassEncoder, numRows: number) => void;
  /** Of each group: token ids, then log shares; u32 and f32 [heads · numRows, topK], in sections of equal size. */
  readonly #results: GPUBuffer;
  readonly #resultsRead: GPUBuffer;
  readonly #sectionBytes: number;

  private constructor(
    gpu: GpuContext,
    sizes: MedusaSizes,
    buffers: { readonly slots: GPUBuffer; readonly samplingRows: GPUBuffer; readonly results: GPUBuffer },
    groupSizes: readonly number[],
    encode: (pass: GPUComputePassEncoder, numRows: number) => void,
  ) {
    this.numHeads = groupSizes.reduce((sum, size) => sum + size, 0);
    this.#gpu = gpu;
    this.#sizes = sizes;
    this.#slots = buffers.slots;
    this.#samplingRows = buffers.samplingRows;
    this.#groupSizes = groupSizes;
    this.#encode = encode;
    this.#results = buffers.results;
    this.#resultsRead = gpu.pool.readback(buffers.results.size, "medusaRead");
    this.#sectionBytes = sectionBytes(groupSizes, sizes);
  }

  /** @throws GpuError */
  static async create(
    gpu: GpuContext,
    heads: readonly MedusaHead[],
    target: MedusaTarget,
    sizes: MedusaSizes,
  ): Promise<MedusaRunner> {
    const groups = groupsOf(heads, target.lmHead);
    const groupSizes = groups.map((group) => group.heads.length);
    const { pool } = gpu;
    const bytes = sectionBytes(groupSizes, sizes);
    const slots = pool.storage(4 * sizes.maxNumSeqs, "medusaSlots");
    const samplingRows = pool.storage(
      groups.length * samplingSection(Math.max(...groupSizes), sizes),
      "medusaSampling",
    );
    const results = pool.storage(2 * groups.length * bytes, "medusaResults");
    const identity = pool.upload(
      Uint32Array.from({ length: sizes.maxNumSeqs }, (_, i) => i),
      "medusaIdentity",
    );
    const maxRows = paddedRows(gpu.family, sizes.maxNumSeqs);
    const x = createActivation(gpu, maxRows, target.config.hiddenSize, "medusaFeatures");
    const gather = await gatherFeatures(
      gpu,
      { features: target.features, slots, rows: identity, out: x },
      ({ numRows }) => numRows,
    );
    const groupOps = await Promise.all(
      groups.map((group, i) => {
        const at = (section: number): Binding => ({ buffer: results, offset: section * bytes, size: bytes });
        const rowBytes = samplingSection(Math.max(...groupSizes), sizes);
        return groupOp(gpu, group, target, sizes, {
          ...{ x, slots, tokens: at(2 * i), logShares: at(2 * i + 1) },
          rows: { buffer: samplingRows, offset: i * rowBytes, size: rowBytes },
        });
      }),
    );
    const encode = (pass: GPUComputePassEncoder, numRows: number) => {
      gather(pass, { numRows, numSplits: 1, numLogits: 0 });
      groups.forEach((group, i) => {
        groupOps[i]?.(pass, { numRows, numSplits: 1, numLogits: numRows * group.heads.length });
      });
    };
    return new MedusaRunner(gpu, sizes, { slots, samplingRows, results }, groupSizes, encode);
  }

  /**
   * Candidates of every row's heads, best first: `[row][head]`.
   * @throws RangeError for more rows than there is room for, GpuError
   */
  run(rows: readonly MedusaRow[]): Promise<readonly (readonly (readonly Candidate[])[])[]> {
    if (rows.length > this.#sizes.maxNumSeqs) throw new RangeError(`at most ${this.#sizes.maxNumSeqs} rows`);
    return this.#gpu.guard.run(async () => {
      this.#submit(rows);
      const bytes = await readMapped(this.#resultsRead);
      return rows.map((_, row) =>
        this.#groupSizes.flatMap((numHeads, group) =>
          Array.from({ length: numHeads }, (__, head) => this.#candidates(bytes, group, head * rows.length + row)),
        ),
      );
    });
  }

  #submit(rows: readonly MedusaRow[]): void {
    const { device } = this.#gpu;
    device.queue.writeBuffer(
      this.#slots,
      0,
      Uint32Array.from(rows, ({ slot }) => slot),
    );
    const rowBytes = samplingSection(Math.max(...this.#groupSizes), this.#sizes);
    let firstHead = 0;
    for (const [group, numHeads] of this.#groupSizes.entries()) {
      const view = new DataView(new ArrayBuffer(numHeads * rows.length * SAMPLING_ROW_BYTES));
      for (let head = 0; head < numHeads; head++) {
        for (const [i, { params, choice, position }] of rows.entries()) {
          const row = samplingRowOf(params, choice, position + firstHead + head);
          writeSamplingRow(view, head * rows.length + i, row);
        }
      }
      device.queue.writeBuffer(this.#samplingRows, group * rowBytes, view.buffer);
      firstHead += numHeads;
    }
    submitPass(device, (pass) => this.#encode(pass, rows.length));
    const encoder = device.createCommandEncoder();
    encoder.copyBufferToBuffer(this.#results, 0, this.#resultsRead, 0, this.#results.size);
    device.queue.submit([encoder.finish()]);
  }

  #candidates(bytes: ArrayBuffer, group: number, row: number): Candidate[] {
    const { topK } = this.#sizes;
    const at = 2 * group * this.#sectionBytes;
    const tokenIds = new Uint32Array(bytes, at);
    const logShares = new Float32Array(bytes, at + this.#sectionBytes);
    return drawnCandidates({ tokenIds, logShares }, row, topK);
  }
}

/** One group of all heads where they use the target's LM head, else each head by itself. */
function groupsOf(heads: readonly MedusaHead[], shared: PackedMatrix): readonly Group[] {
  const own = heads.flatMap((head) => (head.lmHead ? [{ heads: [head], lmHead: head.lmHead }] : []));
  return own.length > 0 ? own : [{ heads, lmHead: shared }];
}

function sectionBytes(groupSizes: readonly number[], { maxNumSeqs, topK }: MedusaSizes): number {
  return Math.ceil((4 * Math.max(...groupSizes) * maxNumSeqs * topK) / SECTION) * SECTION;
}

function samplingSection(numHeads: number, { maxNumSeqs }: MedusaSizes): number {
  return Math.ceil((numHeads * maxNumSeqs * SAMPLING_ROW_BYTES) / SECTION) * SECTION;
}

/** The heads of a group, one after the other, then their LM head and the choice of the best tokens. */
async function groupOp(
  gpu: GpuContext,
  { heads, lmHead }: Group,
  { config, features }: MedusaTarget,
  { maxNumSeqs, topK }: MedusaSizes,
  io: {
    readonly x: Activation;
    readonly slots: Binding;
    readonly rows: Binding;
    readonly tokens: Binding;
    readonly logShares: Binding;
  },
): Promise<Op> {
  const { pool, family } = gpu;
  const { hiddenSize, vocabSize } = config;
  const shapes = productShapes(config);
  const maxLogits = heads.length * maxNumSeqs;
  const maxRows = io.x.maxRows;
  const out = createActivation(gpu, paddedRows(family, maxLogits), hiddenSize, "medusaOut");
  const between = createActivation(gpu, maxRows, hiddenSize, "medusaBetween");
  const product = createProduct(gpu, maxRows, { numInputs: hiddenSize, numOutputs: hiddenSize }, "medusaProduct");
  const logits = createProduct(gpu, out.maxRows, shapes.lmHead, "medusaLogits", true);
  const state = pool.storage(4 * maxNumSeqs * hiddenSize, "medusaState");
  const blocks = heads.flatMap((head, index) =>
    head.blocks.flatMap(({ weights, bias }, i) => {
      const isLast = i === head.blocks.length - 1;
      return [
        matmul(gpu, { weights, x: i === 0 ? io.x : between, y: product }),
        medusaBlock(gpu, {
          ...{ product, bias, slots: io.slots, features, isFirst: i === 0, state },
          ...(isLast ? { out, head: index } : { out: between, head: 0 }),
        }),
      ];
    }),
  );
  const ops = await Promise.all([
    ...blocks,
    matmul(gpu, { weights: lmHead, x: out, y: logits }, (size: PassSize) => size.numLogits),
    sample(
      gpu,
      { vocabSize, topK, withShares: true },
      {
        ...{ logits: logits.buffer, rows: io.rows, tokens: io.tokens, logShares: io.logShares },
        ...samplerScratch(pool, { vocabSize, topK }, maxLogits),
      },
    ),
  ]);
  return (pass, size) => {
    for (const op of ops) op(pass, size);
  };
}
