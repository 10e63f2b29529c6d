export { BufferPool, OFFSET_UNIT, readMapped } from "./buffers.ts";
export { buildDigest } from "./build-digest.ts";
export { type DeviceTraits, defaultCacheDir, type Gpu, openGpu } from "./device.ts";
export { ArgumentError, GpuError } from "./errors.ts";
export { fromHalf, fromHalfBits, toHalf, toHalfBits } from "./f16.ts";
export { chooseFamily, type KernelFamily, KV_TYPES, type KvType, kvTypeOf } from "./family.ts";
export type { FlashDecodingArgs } from "./flash-decoding/arguments.ts";
export type { Tensor, TensorType } from "./flash-decoding/tensor.ts";
export { flashDecodingAttention } from "./flash-decoding-attention.ts";
export { createGpuContext, type GpuContext, siblingContext } from "./gpu-context.ts";
export { type Binding, type BoundKernel, type Grid, type KernelSpec, Kernels, shaderSource } from "./kernel.ts";
export { inTurn, type Op, type OpContext, type PassSize } from "./op.ts";
export { type AddRmsNormArgs, addRmsNorm } from "./ops/add-rms-norm.ts";
export { type AttentionArgs, attention, attentionSplits, ROW_INFO_WORDS } from "./ops/attention.ts";
export { numAttentionPartials } from "./ops/attention-core.ts";
export type { HeadShape, KvShard } from "./ops/attention-types.ts";
export { type CommitKv, commitKv } from "./ops/commit-kv.ts";
export {
  type DraftRules,
  draftCatchUp,
  draftGrow,
  draftPoolBytes,
  draftTree,
  type TargetReads,
} from "./ops/draft-steps.ts";
export { type AddBiasArgs, addBias, type EagleInputArgs, eagleInput, OWN_FEATURE } from "./ops/eagle.ts";
export {
  type Eagle3InputArgs,
  type Eagle3LevelsArgs,
  eagle3Input,
  eagle3Levels,
  NO_PLACE,
  type SpreadLogitsArgs,
  spreadLogits,
} from "./ops/eagle3.ts";
export { embedding } from "./ops/embedding.ts";
export { type FeatureSection, type FeatureStore, featureStore } from "./ops/feature-store.ts";
export {
  commitFeatures,
  type GatherFeaturesArgs,
  gatherFeatures,
  type KeepFeaturesArgs,
  keepFeatures,
} from "./ops/features.ts";
export { type GatedMatmulArgs, gatedMatmul, maxGatedRows } from "./ops/gated-matmul.ts";
export { type GatherRowsArgs, gatherRows, type RowTable } from "./ops/gather-rows.ts";
export { type KvLayout, kvLayout, kvSlotBytes } from "./ops/kv-layout.ts";
export {
  type BatchSections,
  type LaneBatch,
  type LaneOp,
  type LaneParams,
  laneBudget,
  laneRows,
  laneWalk,
} from "./ops/lane-steps.ts";
export { laneUnionBytes, laneUnite } from "./ops/lane-unite.ts";
export {
  aliveOffset,
  type LaneResult,
  type LaneShape,
  type LaneStart,
  type LaneTree,
  laneBytes,
  packLanes,
  readLane,
} from "./ops/lanes.ts";
export { type LogProbBuffers, logProbLayout, logProbs, NUM_BEST } from "./ops/log-probs.ts";
export {
  type DryPenalty,
  type LogitsProcessor,
  laneHistory,
  MAX_BIASES,
  MAX_END_TOKENS,
  type ProcessorBuffers,
  type ProcessorOps,
  type ProcessorShape,
  packProcessor,
  processDraftLogits,
  processLogits,
  processorBytes,
} from "./ops/logits-processors.ts";
export { type MatmulArgs, matmul } from "./ops/matmul.ts";
export { type MedusaBlockArgs, medusaBlock } from "./ops/medusa-block.ts";
export { type MedusaLanes, medusaLeafBytes, medusaRows, medusaTree } from "./ops/medusa-lanes.ts";
export {
  MEDUSA_CHILD_BYTES,
  type MedusaChild,
  medusaPaths,
  numMedusaParents,
  readMedusaChildren,
  type SuccessorEntries,
} from "./ops/medusa-paths.ts";
export {
  type Activation,
  activationBytes,
  numRanges,
  type Product,
  type ProductShape,
  paddedOutputs,
  paddedRows,
  roundUp,
} from "./ops/product.ts";
export { ropeKv, ropeTable } from "./ops/rope.ts";
export {
  logitsStride,
  NO_TOKEN,
  numChunks,
  SAMPLING_ROW_BYTES,
  type SamplerBuffers,
  type SamplingRow,
  sample,
  samplerScratch,
  writeSamplingRow,
} from "./ops/sampling.ts";
export { siluMul } from "./ops/silu-mul.ts";
export { packRows, storageBytes } from "./ops/storage.ts";
export { PassTimer } from "./pass-timer.ts";
export type { AdapterChoice } from "./request-adapter.ts";
export { checkRowTiles, type ProductSum } from "./row-tiles.ts";
export { checkSiluOnLoad, type GatedSum } from "./silu-on-load.ts";
export { StepGuard } from "./step-guard.ts";
export { submitPass } from "./submit-pass.ts";
export { publishJson, readJson } from "./tuning/choice-cache.ts";
export { type ChoiceTools, choiceKey, chooseKernels } from "./tuning/choose-kernels.ts";
export { DeviceProductTimer } from "./tuning/device-product-timer.ts";
export { type KernelChoice, type ModelProduct, parseChoice, withChoice } from "./tuning/kernel-choice.ts";
export { type EmbeddingTable, embeddingTable, wholeTable } from "./weights/embedding-table.ts";
export {
  cutOutputs,
  destroyMatrix,
  type MatrixPart,
  type PackedMatrix,
  uploadMatrix,
  type WeightFormat,
} from "./weights/packed-matrix.ts";
export {
  expandBlocks,
  type Q4Blocks,
  type Q8Blocks,
  quantizeQ8,
  stackBlocks,
  type WeightBlocks,
} from "./weights/weight-blocks.ts";
