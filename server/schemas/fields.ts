import { z } from "zod";

export const MAX_CHOICES = 16;
const MAX_STOPS = 16;
const MAX_STOP_CHARS = 256;
const stopString = z.string().min(1).max(MAX_STOP_CHARS);

/** Fields that completions and chat share. `null` is as good as leaving a field out, as OpenAI's clients have it. */
export const commonFields = {
  model: z.string().max(512).nullish(),
  stream: z.boolean().nullish(),
  stream_options: z.looseObject({ include_usage: z.boolean().nullish() }).nullish(),
  max_tokens: z.int().min(1).nullish(),
  temperature: z.number().min(0).max(2).nullish(),
  top_p: z.number().gt(0).max(1).nullish(),
  /** 0 and −1 are off. */
  top_k: z.int().min(-1).max(1_000_000).nullish(),
  min_p: z.number().min(0).max(1).nullish(),
  seed: z.int().nullish(),
  n: z.int().min(1).max(MAX_CHOICES).nullish(),
  stop: z.union([stopString, z.array(stopString).max(MAX_STOPS)]).nullish(),
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
});

const textPart = z.looseObject({ type: z.literal("text"), text: z.string() });
const message = z.looseObject({
  role: z.enum(["system", "developer", "user", "assistant"]),
  content: z.union([z.string(), z.array(textPart)]),
});

export const chatSchema = z.looseObject({
  ...commonFields,
  messages: z.array(message).min(1).max(1024),
  max_completion_tokens: z.int().min(1).nullish(),
});

export type CompletionBody = z.infer<typeof completionSchema>;
export type ChatBody = z.infer<typeof chatSchema>;
export type CommonBody = Pick<CompletionBody, keyof typeof commonFields>;
