import { randomBytes } from "node:crypto";
import type { SamplingParams } from "../../engine/sampling-params.ts";
import type { AppContext } from "../context.ts";
import { ApiError } from "../errors.ts";
import type { SamplingBody } from "../schemas/sampling.ts";
import type { TextService } from "../text-service.ts";

/** What a request says of how its tokens are drawn; how many there may be depends on the prompt. */
export type Sampling = Omit<SamplingParams, "maxTokens">;

/** llama.cpp's. */
const DRY_BASE = 1.75;
const DRY_ALLOWED_LENGTH = 2;
const DRY_BREAKERS = ["\n", ":", '"', "*"] as const;

/** What needs no text to be read. @throws ApiError invalid_token_id */
export function checkSampling({ client }: Pick<AppContext, "client">, body: SamplingBody): void {
  const { vocabSize } = client.info;
  checkIds("stop_token_ids", body.stop_token_ids ?? [], vocabSize);
  checkIds("logit_bias", Object.keys(body.logit_bias ?? {}).map(Number), vocabSize);
}

/**
 * The body's settings, then the model's own, then those that change nothing.
 * @param body that `checkSampling` has taken
 * @param logprobs best tokens whose log-probabilities are asked for beside the drawn ones'; undefined: none at all
 * @throws ApiError invalid_value naming field, value and limit
 */
export async function samplingOf(
  { model, text }: Pick<AppContext, "model" | "text">,
  body: SamplingBody,
  logprobs: number | undefined,
  signal: AbortSignal,
): Promise<Sampling> {
  const defaults = model.generationDefaults;
  const stopTokenIds = body.stop_token_ids ?? [];
  const logitBias = Object.entries(body.logit_bias ?? {}).map(([id, bias]) => [Number(id), bias] as const);
  const dry = await dryOf(text, body, signal);
  return {
    temperature: body.temperature ?? defaults.temperature ?? 1,
    topP: body.top_p ?? defaults.topP ?? 1,
    topK: Math.max(0, body.top_k ?? defaults.topK ?? 0),
    minP: body.min_p ?? defaults.minP ?? 0,
    typicalP: body.typical_p ?? 1,
    repetitionPenalty: body.repetition_penalty ?? defaults.repetitionPenalty ?? 1,
    presencePenalty: body.presence_penalty ?? 0,
    frequencyPenalty: body.frequency_penalty ?? 0,
    ...(dry ? { dry } : {}),
    // "05" is token 5 again: the last one counts.
    logitBias: [...new Map(logitBias)],
    seed: body.seed == null ? drawSeed() : seedWords(body.seed),
    minTokens: body.min_tokens ?? 0,
    stopTokenIds: [...new Set([...(body.ignore_eos ? [] : text.endTokenIds), ...stopTokenIds])],
    ...(logprobs === undefined ? {} : { logprobs }),
  };
}

/** @throws ApiError invalid_token_id */
export function checkIds(param: string, tokenIds: readonly number[], vocabSize: number): void {
  const foreign = tokenIds.find((id) => id >= vocabSize);
  if (foreign === undefined) return;
  const message = `${param}: token id ${foreign} is not in the vocabulary: ids go from 0 to ${vocabSize - 1}`;
  throw new ApiError("invalid_token_id", message, { param });
}

/** Undefined where it is off. */
async function dryOf(text: TextService, body: SamplingBody, signal: AbortSignal): Promise<SamplingParams["dry"]> {
  const multiplier = body.dry_multiplier ?? 0;
  const range = body.dry_penalty_last_n ?? -1;
  if (multiplier === 0 || range === 0) return undefined;
  return {
    ...{ multiplier, base: body.dry_base ?? DRY_BASE, allowedLength: body.dry_allowed_length ?? DRY_ALLOWED_LENGTH },
    ...(range > 0 ? { range } : {}),
    breakers: await breakersOf(text, body.dry_sequence_breakers, signal),
  };
}

/** Tokens with a breaker in their text. One that is asked for must be in some token: only then it can break anything. */
async function breakersOf(
  text: TextService,
  asked: SamplingBody["dry_sequence_breakers"],
  signal: AbortSignal,
): Promise<readonly number[]> {
  const found = await Promise.all((asked ?? DRY_BREAKERS).map((breaker) => text.tokensContaining(breaker, signal)));
  const lacking = found.findIndex((ids) => ids.length === 0);
  if (asked && lacking >= 0) {
    const message = `dry_sequence_breakers: no token of the model contains ${JSON.stringify(asked[lacking])}; use a shorter one`;
    throw new ApiError("invalid_value", message, { param: "dry_sequence_breakers" });
  }
  return [...new Set(found.flat())];
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
