import { z } from "zod";
import { MAX_TEXT_LENGTH } from "../../engine/text/chat-template.ts";
import { chosenBy, listOf } from "./list.ts";
import { MAX_LOGPROBS, samplingFields } from "./sampling.ts";

export const MAX_CHOICES = 16;
const MAX_PRIORITY = 2 ** 31 - 1;
/** A day. */
const MAX_TIMEOUT_SECONDS = 86_400;

const MAX_MESSAGES = 1024;
/** Of one content. */
const MAX_PARTS = 1024;

const textPart = z.object({ type: z.literal("text"), text: z.string() });
/** A text, whole or in parts. */
const content = z.union([z.string(), listOf(textPart, { max: MAX_PARTS })]);

/** Not `z.strictObject`, which tells all foreign keys. */
const onlyPieces = z.custom<object>(
  (value) => typeof value === "object" && value !== null && Object.keys(value).every((key) => key === "pieces"),
  { error: "must be an object with no other field than pieces" },
);

/** Fields that completions and chat share. `null` is as good as leaving a field out, as OpenAI's clients have it. */
export const commonFields = {
  model: z.string().max(512).nullish(),
  stream: z.boolean().nullish(),
  stream_options: z.object({ include_usage: z.boolean().nullish() }).nullish(),
  ...samplingFields,
  max_tokens: z.int().min(1).nullish(),
  n: z.int().min(1).max(MAX_CHOICES).nullish(),
  /** As vLLM has it: lower comes first. */
  priority: z.int().min(-MAX_PRIORITY).max(MAX_PRIORITY).nullish(),
  /** Seconds. */
  timeout: z.number().gt(0).max(MAX_TIMEOUT_SECONDS).nullish(),
  /** What the answer may be for the most part: drafted from, never trusted. */
  prediction: z.object({ type: z.literal("content"), content }).nullish(),
  /** Our own extensions. pieces: each streamed choice says which of its text was drafted and accepted. */
  canopy: onlyPieces.pipe(z.object({ pieces: z.boolean().optional() })).nullish(),
} as const;

const MAX_PROMPTS = 64;
const text = z.string({ error: "must be text, token ids, or a list of one of them" });
/** Together they may have what one may have: each is encoded in its turn, without a look at the others. */
const texts = listOf(z.string(), { min: 1, max: MAX_PROMPTS }).check(({ value, issues }) => {
  const numChars = value.reduce((sum, { length }) => sum + length, 0);
  if (numChars <= MAX_TEXT_LENGTH) return;
  const message = `the prompts have ${numChars} characters together, at most ${MAX_TEXT_LENGTH} are taken; send less text`;
  issues.push({ code: "custom", message, input: value });
});
const isTokenId = (id: unknown): boolean => Number.isSafeInteger(id) && Number(id) >= 0;
const tokenId = z.custom<number>(isTokenId, { error: "must be a token id, a whole number from 0" });
const tokenIds = listOf(tokenId, { isItem: isTokenId });
const tokenLists = listOf(tokenIds, { min: 1, max: MAX_PROMPTS });

/** A list is of the kind of its first element, so that what is said about the others is about that kind. */
function promptKind(prompt: unknown): z.ZodType<string | string[] | number[] | number[][]> {
  if (!Array.isArray(prompt)) return text;
  if (typeof prompt[0] === "string") return texts;
  return Array.isArray(prompt[0]) ? tokenLists : tokenIds;
}

export const completionSchema = z.object({
  ...commonFields,
  prompt: chosenBy(promptKind),
  /** With each token, its log-probability and those of so many best ones. */
  logprobs: z.int().min(0).max(MAX_LOGPROBS).nullish(),
});

const message = z.object({
  role: z.enum(["system", "developer", "user", "assistant"]),
  content,
});

export const chatSchema = z.object({
  ...commonFields,
  messages: listOf(message, { min: 1, max: MAX_MESSAGES }),
  max_completion_tokens: z.int().min(1).nullish(),
  logprobs: z.boolean().nullish(),
  /** Only together with `logprobs`. */
  top_logprobs: z.int().min(0).max(MAX_LOGPROBS).nullish(),
});

export type Content = z.infer<typeof content>;
export type CompletionBody = z.infer<typeof completionSchema>;
export type ChatBody = z.infer<typeof chatSchema>;
export type CommonBody = Pick<CompletionBody, keyof typeof commonFields>;
