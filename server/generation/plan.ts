import type { EngineInfo } from "../../engine/client.ts";
import { longestSequence } from "../../engine/request-check.ts";
import type { SamplingParams } from "../../engine/sampling-params.ts";
import type { AppContext, RequestLimits } from "../context.ts";
import { ApiError } from "../errors.ts";
import type { CommonBody } from "../schemas/fields.ts";
import type { Sampling } from "./sampling.ts";

/** One choice of one prompt, ready for the engine. */
export interface ChoicePlan {
  /** In the answer: prompts in order, and for each its choices. */
  readonly index: number;
  /** 0 … n − 1 among those of its prompt; with the seed it keys the draws. */
  readonly choice: number;
  readonly promptTokenIds: readonly number[];
  readonly params: SamplingParams;
  /** Token ids. */
  readonly prediction?: readonly number[];
}

/** What a request asks for, as far as that is known before any text is read: enough to let it in. */
export interface RequestFrame {
  /** Of each prompt. */
  readonly n: number;
  /** Of all prompts. */
  readonly numChoices: number;
  readonly stop: readonly string[];
  readonly stream: boolean;
  readonly includeUsage: boolean;
  readonly withPieces: boolean;
  readonly priority: number;
  /** It is ended after so long. */
  readonly timeoutSeconds?: number;
}

/** What a request asks for, checked and complete. */
export interface GenerationPlan extends RequestFrame {
  readonly choices: readonly ChoicePlan[];
  readonly hasPrediction: boolean;
  readonly numPromptTokens: number;
}

/** Prompts times n. */
const MAX_CHOICES = 128;

/** @throws ApiError invalid_value where prompts × n are too many, or the priority too low */
export function frameOf({ limits }: AppContext, body: CommonBody, numPrompts: number): RequestFrame {
  const n = body.n ?? 1;
  const numChoices = numPrompts * n;
  if (numChoices > MAX_CHOICES) {
    const message = `${numPrompts} prompts times n = ${n} are ${numChoices} choices, at most ${MAX_CHOICES} a request`;
    throw new ApiError("invalid_value", message, { param: "n" });
  }
  return {
    ...{ n, numChoices },
    stop: typeof body.stop === "string" ? [body.stop] : (body.stop ?? []),
    stream: body.stream ?? false,
    includeUsage: body.stream_options?.include_usage ?? false,
    withPieces: body.canopy?.pieces ?? false,
    priority: priorityOf(body, limits),
    ...timeoutOf(body, limits),
  };
}

/**
 * @param maxTokens asked for, or undefined for the rest of the context
 * @throws ApiError context_length_exceeded naming the numbers, invalid_value
 */
export function planGeneration(
  { client }: AppContext,
  frame: RequestFrame,
  prompts: readonly (readonly number[])[],
  sampling: Sampling,
  maxTokens: number | undefined,
  prediction: readonly number[] | undefined,
): GenerationPlan {
  const { n } = frame;
  const choices = prompts.flatMap((promptTokenIds, i) => {
    const room = roomFor(promptTokenIds, maxTokens, client.info);
    if (sampling.minTokens > room) {
      const message = `min_tokens is ${sampling.minTokens}, but there will be at most ${room}; ask for fewer, or raise max_tokens`;
      throw new ApiError("invalid_value", message, { param: "min_tokens" });
    }
    const limited = { ...sampling, maxTokens: room };
    return Array.from({ length: n }, (_, choice) => ({
      index: i * n + choice,
      choice,
      promptTokenIds,
      params: limited,
      ...(prediction ? { prediction } : {}),
    }));
  });
  return {
    ...frame,
    choices,
    hasPrediction: prediction !== undefined,
    numPromptTokens: prompts.reduce((sum, { length }) => sum + length, 0),
  };
}

function priorityOf({ priority }: CommonBody, { minPriority }: RequestLimits): number {
  const wanted = priority ?? 0;
  if (wanted >= minPriority) return wanted;
  const message = `priority is ${wanted}, but the server has several API keys: it must be ${minPriority} or more, to come after others`;
  throw new ApiError("invalid_value", message, { param: "priority" });
}

function timeoutOf({ timeout }: CommonBody, { timeoutSeconds }: RequestLimits): Pick<RequestFrame, "timeoutSeconds"> {
  const seconds = Math.min(timeout ?? Number.POSITIVE_INFINITY, timeoutSeconds ?? Number.POSITIVE_INFINITY);
  return Number.isFinite(seconds) ? { timeoutSeconds: seconds } : {};
}

/** A text that would be cut by the context's end is refused, never cut silently. */
function roomFor(prompt: readonly number[], maxTokens: number | undefined, info: EngineInfo): number {
  const longest = longestSequence(info);
  const room = longest - prompt.length;
  if (room >= (maxTokens ?? 1)) return maxTokens ?? room;
  const asked = maxTokens === undefined ? "" : ` and ${maxTokens} are to be generated`;
  const wayOut = room >= 1 ? `ask for at most ${room}, or shorten the prompt` : "shorten the prompt";
  const holds = longest < info.maxModelLen ? "the KV cache holds" : "the model's context holds";
  const message = `the prompt has ${prompt.length} tokens${asked}, but ${holds} ${longest}; ${wayOut}`;
  throw new ApiError("context_length_exceeded", message, { param: room >= 1 ? "max_tokens" : "prompt" });
}
