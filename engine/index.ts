export type {
  EngineClient,
  EngineInfo,
  EngineKernels,
  EngineOutput,
  EngineRequest,
  FinishReason,
  StepSequence,
  StepStats,
  Supervision,
  TokenLogprobs,
  VerifiedTree,
} from "./client.ts";
export { createEngine } from "./create.ts";
export {
  type CreatedEngine,
  DRAFTER_KINDS,
  type DrafterChoice,
  type DrafterKind,
  ENGINE_DEFAULTS,
  type EngineOptions,
  type ServedAssets,
  TREE_BUDGETS,
  type TreeBudget,
} from "./engine-options.ts";
export {
  ChatTemplateError,
  EngineDeadError,
  EngineOptionsError,
  EngineRequestError,
  ModelFileError,
} from "./errors.ts";
export { superviseEngine } from "./process/supervised-engine.ts";
export { GREEDY, type SamplingParams } from "./sampling-params.ts";
export { type ChatMessage, ModelText, type TextDelta, type TextOutput } from "./text/model-text.ts";
