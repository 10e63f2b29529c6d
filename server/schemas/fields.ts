import { z } from "zod";
import { MAX_LOGPROBS, samplingFields } from "./sampling.ts";

export const MAX_CHOICES = 16;
const MAX_PRIORITY = 2 ** 31 - 1;
/** A day. */
const MAX_TIMEOUT_SECONDS = 86_400;

const textPart = z.looseObject({ type: z.literal("text"), text: z.string() });
/** A text, whole or in parts. */
const content = z.union([z.string(), z.array(textPart)]);

/** Fields that completions and chat share. `null` is as good as leaving a field out, as OpenAI's clients have it. */
export const commonFields = {
  model: z.string().max(512).nullish(),
  stream: z.boolean().nullish(),
  stream_options: z.looseObject({ include_usage: z.boolean().nullish() }).nullish(),
  ...samplingFields,
  max_tokens: z.int().min(1).nullish(),
  n: z.int().min(1).max(MAX_CHOICES).nullish(),
  /** As vLLM has it: lower comes first. */
  priority: z.int().min(-MAX_PRIORITY).max(MAX_PRIORITY).nullish(),
  /** Seconds. */
  timeout: z.number().gt(0).max(MAX_TIMEOUT_SECONDS).nullish(),
  /** What the answer may be for the most part: drafted from, never trusted. */
  prediction: z.looseObject({ type: z.literal("content"), content }).nullish(),
  /** Our own extensions. pieces: each streamed choice says which of its text was drafted and accepted. */
  canopy: z.strictObject({ pieces: z.boolean().optional() }).nullish(),
} as const;

const tokenIds = z.array(z.int().min(0));
const MAX_PROMPTS = 64;

export const completionSchema = z.looseObject({
  ...commonFields,
  prompt: z.union([
    z.string(),
    z.array(z.string()).min(1).max(MAX_PROMPTS),
    tokenIds,
    z.array(tokenIds).min(1).max(MAX_PROMPTS),
  ]),
  /** With each token, its log-probability and those of so many best ones. */
  logprobs: z.int().min(0).max(MAX_LOGPROBS).nullish(),
});

const message = z.looseObject({
  role: z.enum(["system", "developer", "user", "assistant"]),
  content,
});

export const chatSchema = z.looseObject({
  ...commonFields,
  messages: z.array(message).min(1).max(1024),
  max_completion_tokens: z.int().min(1).nullish(),
  logprobs: z.boolean().nullish(),
  /** Only together with `logprobs`. */
  top_logprobs: z.int().min(0).max(MAX_LOGPROBS).nullish(),
});

export type Content = z.infer<typeof content>;
export type CompletionBody = z.infer<typeof completionSchema>;
export type ChatBody = z.infer<typeof chatSchema>;
export type CommonBody = Pick<CompletionBody, keyof typeof commonFields>;
