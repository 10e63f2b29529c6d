import { randomBytes } from "node:crypto";
import { GREEDY, type SamplingParams } from "../../engine/sampling-params.ts";
import type { AppContext } from "../context.ts";
import { ApiError } from "../errors.ts";
import type { CommonBody } from "../schemas/fields.ts";

/** One choice of one prompt, ready for the engine. */
export interface ChoicePlan {
  /** In the answer: prompts in order, and for each its choices. */
  readonly index: number;
  /** 0 … n − 1 among those of its prompt; with the seed it keys the draws. */
  readonly choice: number;
  readonly promptTokenIds: readonly number[];
  readonly params: SamplingParams;
}

/** What a request asks for, checked and complete. */
export interface GenerationPlan {
  readonly choices: readonly ChoicePlan[];
  readonly stop: readonly string[];
  readonly stream: boolean;
  readonly includeUsage: boolean;
  readonly withPieces: boolean;
  readonly numPromptTokens: number;
}

/** Prompts times n. */
const MAX_CHOICES = 128;

/**
 * @param maxTokens asked for, or undefined for the rest of the context
 * @throws ApiError context_length_exceeded naming the numbers, invalid_value where prompts × n are too many
 */
export function planGeneration(
  { client, model, text }: AppContext,
  body: CommonBody,
  prompts: readonly (readonly number[])[],
  maxTokens: number | undefined,
): GenerationPlan {
  const n = body.n ?? 1;
  if (prompts.length * n > MAX_CHOICES) {
    const message = `${prompts.length} prompts times n = ${n} are ${prompts.length * n} choices, at most ${MAX_CHOICES} a request`;
    throw new ApiError("invalid_value", message, { param: "n" });
  }
  const defaults = model.generationDefaults;
  const params = {
    ...GREEDY,
    temperature: body.temperature ?? defaults.temperature ?? 1,
    topP: body.top_p ?? defaults.topP ?? 1,
    topK: Math.max(0, body.top_k ?? defaults.topK ?? 0),
    minP: body.min_p ?? defaults.minP ?? 0,
    seed: body.seed == null ? drawSeed() : seedWords(body.seed),
    stopTokenIds: text.endTokenIds,
  };
  const choices = prompts.flatMap((promptTokenIds, i) => {
    const limited = { ...params, maxTokens: roomFor(promptTokenIds, maxTokens, client.info.maxModelLen) };
    return Array.from({ length: n }, (_, choice) => ({
      index: i * n + choice,
      choice,
      promptTokenIds,
      params: limited,
    }));
  });
  return {
    choices,
    stop: typeof body.stop === "string" ? [body.stop] : (body.stop ?? []),
    stream: body.stream ?? false,
    includeUsage: body.stream_options?.include_usage ?? false,
    withPieces: body.canopy?.pieces ?? false,
    numPromptTokens: prompts.reduce((sum, { length }) => sum + length, 0),
  };
}

/** A text that would be cut by the context's end is refused, never cut silently. */
function roomFor(prompt: readonly number[], maxTokens: number | undefined, maxModelLen: number): number {
  const room = maxModelLen - prompt.length;
  if (room >= (maxTokens ?? 1)) return maxTokens ?? room;
  const asked = maxTokens === undefined ? "" : ` and ${maxTokens} are to be generated`;
  const wayOut = room >= 1 ? `ask for at most ${room}, or shorten the prompt` : "shorten the prompt";
  const message = `the prompt has ${prompt.length} tokens${asked}, but the model's context holds ${maxModelLen}; ${wayOut}`;
  throw new ApiError("context_length_exceeded", message, { param: room >= 1 ? "max_tokens" : "prompt" });
}

function drawSeed(): readonly [number, number] {
  const bytes = randomBytes(8);
  return [bytes.readUInt32LE(0), bytes.readUInt32LE(4)];
}

/** The 64 bits of a seed, negative ones in two's complement. */
function seedWords(seed: number): readonly [number, number] {
  const bits = BigInt.asUintN(64, BigInt(seed));
  return [Number(bits & 0xffffffffn), Number(bits >> 32n)];
}
