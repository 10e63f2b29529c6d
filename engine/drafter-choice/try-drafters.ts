import {
  buildDigest,
  defaultCacheDir,
  type Gpu,
  type GpuContext,
  GpuError,
  siblingContext,
} from "../../kernels/index.ts";
import type { DrafterFigures, EngineClient } from "../client.ts";
import type { DrafterChoice, EngineOptions } from "../engine-options.ts";
import { ChatTemplateError, EngineOptionsError, EngineRequestError, ModelFileError } from "../errors.ts";
import { type BesideKind, drafterKindsBeside } from "../model/bundled.ts";
import type { OpenedModel, TextAssets } from "../model/types.ts";
import { closeDrafters, type OpenedDrafter, openDrafters } from "../open-drafters.ts";
import { type LlamaWeights, onDevice } from "../runner/weights.ts";
import { ModelText } from "../text/model-text.ts";
import { chooseDrafter, type DrafterChoiceTools } from "./choose-drafter.ts";
import { type DecodingTrial, measureDecoding } from "./measure-decoding.ts";

/** What a trial decodes answers to: a story, facts, code, a list. */
const PROMPTS = [
  "Tell me a story.",
  "Explain how rain forms.",
  "Write a function that reverses a list.",
  "Name ten animals and say where each of them lives.",
];
const MAX_TOKENS = 64;
/**
 * An idle GPU takes a while to reach its clocks, and its host may be twice as fast a second later. A software adapter has no clocks, and
 * may be busy with other work.
 */
const TIMES = {
  gpu: { warmUpMs: 300, maxSteps: 256, limitMs: 500 },
  software: { warmUpMs: 0, maxSteps: 16, limitMs: 3000 },
} as const;
const NUM_ROUNDS = { gpu: 2, software: 1 } as const;
/** Tokens that a trial's sequence may hold: prompt and answer, and not so much memory. */
const MAX_MODEL_LEN = 512;

type Options = Omit<EngineOptions, "model"> & Required<Pick<EngineOptions, "drafter" | "treeNodes">>;
/** Of a trial's engine: what decides on its speed is as it will be. */
type TrialOptions = Omit<EngineOptions, "model" | "numKvBlocks">;
/** Opens an engine that owns the context's pool. */
type Assemble = (
  options: TrialOptions,
  device: Gpu,
  context: GpuContext,
  weights: LlamaWeights,
  drafters: readonly OpenedDrafter[],
) => Promise<EngineClient>;

export interface Tried {
  /** Of the drafters that could be run, the fastest first. */
  readonly figures: readonly DrafterFigures[];
  /** The target's, where trials have put them into the context's pool. */
  readonly weights?: LlamaWeights;
}

/**
 * Finds out which of the drafters beside a target decodes fastest here, one stream, greedily: each gets an engine for a moment, over
 * weights that all of them share, unless a file remembers what came of that (`chooseDrafter`).
 * @returns undefined where "auto" is not asked for, there is no choice, or nothing is drafted
 * @throws GpuError device_lost
 */
export async function tryDrafters(
  options: Options,
  device: Gpu,
  context: GpuContext,
  target: OpenedModel & { readonly text: TextAssets },
  assemble: Assemble,
  { cacheDir, now }: Pick<DrafterChoiceTools, "cacheDir" | "now"> = {
    cacheDir: defaultCacheDir(),
    now: () => performance.now(),
  },
): Promise<Tried | undefined> {
  const candidates = isAuto(options.drafter) ? drafterKindsBeside(target.path) : [];
  if (candidates.length < 2 || options.treeNodes < 2) return undefined;
  const { maxPositionEmbeddings } = target.config;
  // The same weights serve trials and the engine to come, which may hold more or less.
  const maxModelLen = Math.min(
    Math.max(options.maxModelLen ?? maxPositionEmbeddings, MAX_MODEL_LEN),
    maxPositionEmbeddings,
  );
  let weights: LlamaWeights | undefined;
  const trial = trialOf(target.text, device);
  const measure = async (candidate: BesideKind) => {
    weights ??= onDevice(context, target.config, target.weights, maxModelLen);
    // What goes wrong in a trial is not to be held against the next.
    const own = siblingContext(context);
    let drafters: readonly OpenedDrafter[] = [];
    try {
      drafters = openDrafters(candidate, target);
      const borrowed = { ...device, close: () => {} };
      const client = await assemble(trialOptions(options, maxModelLen), borrowed, own, weights, drafters);
      const figures = await measureDecoding(client, trial, now);
      await client.close();
      return figures;
    } catch (error) {
      if (isMisfit(error)) return undefined;
      throw error;
    } finally {
      closeDrafters(drafters);
      own.pool.destroyAll();
    }
  };
  const numRounds = NUM_ROUNDS[device.traits.software ? "software" : "gpu"];
  // How they are measured is part of it: figures of another way are not to be compared.
  const dependsOn = [dependenciesOf(options, device, context, target, candidates), TIMES, NUM_ROUNDS];
  const figures = await chooseDrafter(candidates, dependsOn, { cacheDir, now, numRounds, measure });
  return { figures, ...(weights ? { weights } : {}) };
}

function isAuto(drafter: DrafterChoice): boolean {
  return [drafter].flat().join() === "auto";
}

/** A drafter that is damaged, made for another target, or has no room: there are others. */
function isMisfit(error: unknown): boolean {
  if (error instanceof ModelFileError || error instanceof EngineOptionsError) return true;
  // The target holds fewer tokens than a prompt has.
  if (error instanceof EngineRequestError) return true;
  return error instanceof GpuError && error.code !== "device_lost";
}

function trialOptions({ numKvBlocks: _, ...options }: Omit<EngineOptions, "model">, maxModelLen: number): TrialOptions {
  return {
    ...options,
    ...{ maxModelLen: Math.min(maxModelLen, MAX_MODEL_LEN), maxNumSeqs: 1, prefixCache: false },
    ...{ treeBudget: "fixed", checkInvariants: false, profile: false },
  };
}

function trialOf(assets: TextAssets, { traits }: Gpu): DecodingTrial {
  const text = new ModelText(assets);
  const times = traits.software ? TIMES.software : TIMES.gpu;
  return {
    ...{ prompts: PROMPTS.map((prompt) => encode(text, prompt)), endTokenIds: text.endTokenIds, maxTokens: MAX_TOKENS },
    ...times,
  };
}

/** As a message where the model has a template for one. */
function encode(text: ModelText, prompt: string): readonly number[] {
  try {
    return text.encodeChat([{ role: "user", content: prompt }]);
  } catch (error) {
    if (error instanceof ChatTemplateError) return text.encodePrompt(prompt);
    throw error;
  }
}

/** Everything that speeds depend on. */
function dependenciesOf(
  options: Omit<EngineOptions, "model">,
  { adapterName, driver, features }: Gpu,
  { family }: GpuContext,
  target: OpenedModel,
  candidates: readonly BesideKind[],
): unknown {
  const { treeNodes, treeDepth, treeTopK, tree, cape, medusaCandidates, stepsInFlight, kvDtype } = options;
  const sizes = { treeNodes, treeDepth, treeTopK, tree, cape, medusaCandidates, stepsInFlight, kvDtype };
  return [adapterName, driver, features, buildDigest(), family, target.digest, digestsOf(candidates, target), sizes];
}

/** Of the candidates' files; of those that cannot be opened the reason. */
function digestsOf(candidates: readonly BesideKind[], target: OpenedModel): readonly (readonly string[])[] {
  return candidates.map((candidate) => {
    try {
      const drafters = openDrafters(candidate, target);
      closeDrafters(drafters);
      return drafters.map((drafter) => ("digest" in drafter ? drafter.digest : drafter.kind));
    } catch (error) {
      if (error instanceof ModelFileError) return [error.message];
      throw error;
    }
  });
}
