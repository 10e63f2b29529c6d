import { z } from "zod";
import { listOf } from "./list.ts";

const MAX_STOPS = 16;
const MAX_STOP_CHARS = 256;
const MAX_STOP_TOKENS = 64;
const MAX_BIASES = 1024;
const MAX_BREAKERS = 16;
const MAX_BREAKER_CHARS = 40;
/** Best tokens whose log-probabilities can be had. */
export const MAX_LOGPROBS = 20;

const stopString = z.string().min(1).max(MAX_STOP_CHARS);
/** A token id, as the key of an object. */
const tokenKey = z.string().regex(/^\d{1,9}$/, { error: "the keys must be token ids" });
/** Counted before anything else is looked at: a body has room for a million. */
const fewKeys = z.custom<object>(
  (value) => typeof value === "object" && value !== null && Object.keys(value).length <= MAX_BIASES,
  { error: `must be an object of at most ${MAX_BIASES} token ids` },
);

/** How tokens are drawn and when they end, in completions and in chat: OpenAI's fields, then vLLM's, then llama.cpp's. */
export const samplingFields = {
  temperature: z.number().min(0).max(2).nullish(),
  top_p: z.number().gt(0).max(1).nullish(),
  presence_penalty: z.number().min(-2).max(2).nullish(),
  frequency_penalty: z.number().min(-2).max(2).nullish(),
  logit_bias: fewKeys.pipe(z.record(tokenKey, z.number().min(-100).max(100))).nullish(),
  seed: z.int().nullish(),
  stop: z.union([stopString, listOf(stopString, { max: MAX_STOPS })]).nullish(),
  /** 0 and −1 are off. */
  top_k: z.int().min(-1).max(1_000_000).nullish(),
  min_p: z.number().min(0).max(1).nullish(),
  repetition_penalty: z.number().min(0.01).max(10).nullish(),
  stop_token_ids: listOf(z.int().min(0), { max: MAX_STOP_TOKENS }).nullish(),
  ignore_eos: z.boolean().nullish(),
  min_tokens: z.int().min(0).nullish(),
  typical_p: z.number().gt(0).max(1).nullish(),
  /** 0 is off. */
  dry_multiplier: z.number().min(0).max(100).nullish(),
  dry_base: z.number().min(1).max(10).nullish(),
  dry_allowed_length: z.int().min(1).max(50).nullish(),
  /** −1 looks at all tokens, 0 is off. */
  dry_penalty_last_n: z.int().min(-1).max(1_000_000_000).nullish(),
  dry_sequence_breakers: listOf(z.string().min(1).max(MAX_BREAKER_CHARS), { max: MAX_BREAKERS }).nullish(),
} as const;

export type SamplingBody = z.infer<z.ZodObject<typeof samplingFields>>;
