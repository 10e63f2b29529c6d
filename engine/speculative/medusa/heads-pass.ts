import {
  type Activation,
  type Binding,
  type FeatureStore,
  type GpuContext,
  gatherFeatures,
  MEDUSA_CHILD_BYTES,
  matmul,
  medusaBlock,
  medusaPaths,
  numMedusaParents,
  type PackedMatrix,
  type PassSize,
  paddedRows,
  SAMPLING_ROW_BYTES,
  type SamplerBuffers,
  type SuccessorEntries,
  sample,
  samplerScratch,
} from "../../../kernels/index.ts";
import { productShapes } from "../../model/product-shapes.ts";
import type { LlamaConfig } from "../../model/types.ts";
import { createActivation, createProduct } from "../../runner/activations.ts";
import { DraftProcessing } from "../../runner/draft-processing.ts";
import type { RequestSampling, SamplingWants } from "../../runner/request-sampling.ts";
import type { MedusaHead } from "./weights.ts";

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
  readonly requestSampling: RequestSampling | undefined;
}

/**
 * The pass of all heads over some sequences' last features. Heads that share an LM head are a group: their rows go through it in
 * one product, head after head, so that row h · numRows + i of a group is its head h of sequence i.
 */
export interface HeadsPass {
  readonly numHeads: number;
  /** Of every group: either all heads are one, or each is by itself. */
  readonly headsPerGroup: number;
  /** u32 [maxNumSeqs]: slots of the target's last features, and the last known tokens. To be written before the pass. */
  readonly slots: GPUBuffer;
  readonly roots: GPUBuffer;
  /** SamplingRow [headsPerGroup · maxNumSeqs] of each group, `samplingStride` rows apart. To be written before the pass. */
  readonly samplingRows: GPUBuffer;
  readonly samplingStride: number;
  /** `Child` [numRows, numMedusaParents, topK]: what the heads propose below every node, best first. */
  readonly children: GPUBuffer;
  /** What each group's logits go through first; none where a target's requests want no more than filters. */
  readonly processing: readonly DraftProcessing[];
  /** @param wants whose tokens are counted, and for which all of `processing` is ready */
  readonly encode: (pass: GPUComputePassEncoder, numRows: number, wants: SamplingWants) => void;
}

/** Heads that share an LM head. */
interface Group {
  readonly heads: readonly MedusaHead[];
  readonly lmHead: PackedMatrix;
}

interface GroupPass {
  readonly processing: DraftProcessing | undefined;
  readonly encode: (pass: GPUComputePassEncoder, size: PassSize, wants: SamplingWants) => void;
}

/** What bindings' offsets are multiples of. */
const BINDING_BYTES = 256;
/** The same in whole sampling rows. */
const SAMPLING_BYTES = 5 * BINDING_BYTES;

/** @throws GpuError */
export async function createHeadsPass(
  gpu: GpuContext,
  heads: readonly MedusaHead[],
  target: MedusaTarget,
  sizes: MedusaSizes,
  successors: SuccessorEntries,
): Promise<HeadsPass> {
  const { pool } = gpu;
  const { maxNumSeqs, topK } = sizes;
  const groups = groupsOf(heads, target.lmHead);
  const headsPerGroup = heads.length / groups.length;
  const maxRows = headsPerGroup * maxNumSeqs;
  const samplingBytes = Math.ceil((maxRows * SAMPLING_ROW_BYTES) / SAMPLING_BYTES) * SAMPLING_BYTES;
  const resultBytes = Math.ceil((4 * maxRows * topK) / BINDING_BYTES) * BINDING_BYTES;
  const slots = pool.storage(4 * maxNumSeqs, "medusaSlots");
  const roots = pool.storage(4 * maxNumSeqs, "medusaRoots");
  const childBytes = MEDUSA_CHILD_BYTES * topK * numMedusaParents(heads.length, topK);
  const children = pool.storage(childBytes * maxNumSeqs, "medusaChildren");
  const samplingRows = pool.storage(groups.length * samplingBytes, "medusaSampling");
  const results = pool.storage(2 * groups.length * resultBytes, "medusaResults");
  const identity = pool.upload(
    Uint32Array.from({ length: maxNumSeqs }, (_, i) => i),
    "medusaIdentity",
  );
  const x = createActivation(gpu, paddedRows(gpu.family, maxNumSeqs), target.config.hiddenSize, "medusaFeatures");
  const result = (section: number) => ({ buffer: results, offset: section * resultBytes, size: resultBytes });
  const [gather, paths, ...groupPasses] = await Promise.all([
    gatherFeatures(gpu, { features: target.features, slots, rows: identity, out: x }, ({ numRows }) => numRows),
    medusaPaths(gpu, {
      ...{ numHeads: heads.length, headsPerGroup, roots, results, resultStride: resultBytes / 4 },
      ...{ successors, children, topK },
    }),
    ...groups.map((group, i) =>
      groupPass(gpu, group, target, sizes, {
        ...{ x, slots, tokens: result(2 * i), logShares: result(2 * i + 1) },
        rows: { buffer: samplingRows, offset: i * samplingBytes, size: samplingBytes },
      }),
    ),
  ]);
  return {
    ...{ numHeads: heads.length, headsPerGroup, slots, roots, samplingRows, children },
    samplingStride: samplingBytes / SAMPLING_ROW_BYTES,
    processing: groupPasses.flatMap(({ processing }) => processing ?? []),
    encode(pass, numRows, wants) {
      const size = { numRows, numSplits: 1, numLogits: numRows * headsPerGroup };
      gather(pass, size);
      for (const { encode } of groupPasses) encode(pass, size, wants);
      paths(pass, size);
    },
  };
}

/** One group of all heads where they use the target's LM head, else each head by itself. */
function groupsOf(heads: readonly MedusaHead[], shared: PackedMatrix): readonly Group[] {
  const own = heads.flatMap((head) => (head.lmHead ? [{ heads: [head], lmHead: head.lmHead }] : []));
  return own.length > 0 ? own : [{ heads, lmHead: shared }];
}

/** The heads of a group, one after the other, then their LM head and the choice of the best tokens. */
async function groupPass(
  gpu: GpuContext,
  { heads, lmHead }: Group,
  { config, features, requestSampling }: MedusaTarget,
  { maxNumSeqs, topK }: MedusaSizes,
  io: {
    readonly x: Activation;
    readonly slots: Binding;
    readonly rows: Binding;
    readonly tokens: Binding;
    readonly logShares: Binding;
  },
): Promise<GroupPass> {
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
  const draws: SamplerBuffers = {
    ...{ logits: logits.buffer, rows: io.rows, tokens: io.tokens, logShares: io.logShares },
    ...samplerScratch(pool, { vocabSize, topK }, maxLogits),
  };
  const processing = DraftProcessing.over(gpu, requestSampling, { vocabSize, maxLogits, topK }, draws);
  const [draw, ...ops] = await Promise.all([
    sample(gpu, { vocabSize, topK, withShares: true }, draws),
    ...blocks,
    matmul(gpu, { weights: lmHead, x: out, y: logits }, (size: PassSize) => size.numLogits),
  ]);
  return {
    processing,
    encode(pass, size, wants) {
      for (const op of ops) op(pass, size);
      if (processing) processing.encode(pass, size, wants, draw);
      else draw(pass, size);
    },
  };
}
