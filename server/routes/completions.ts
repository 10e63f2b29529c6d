import type { FastifyInstance } from "fastify";
import type { AppContext } from "../context.ts";
import { ApiError } from "../errors.ts";
import { answer } from "../generation/answer.ts";
import { COMPLETION_FORMAT } from "../generation/format.ts";
import { frameOf, planGeneration } from "../generation/plan.ts";
import { predictionOf } from "../generation/prediction.ts";
import { checkIds, checkSampling, samplingOf } from "../generation/sampling.ts";
import { type CompletionBody, completionSchema } from "../schemas/fields.ts";
import { parseBody } from "../schemas/parse.ts";
import { checkModel } from "./models.ts";

/** OpenAI's default for plain completions. */
const DEFAULT_MAX_TOKENS = 16;

export function registerCompletions(app: FastifyInstance, context: AppContext): void {
  app.post("/v1/completions", async (request, reply) => {
    const arrivalMs = performance.now();
    const body = parseBody(completionSchema, request.body, request.log);
    checkModel(context.model, body.model);
    const { vocabSize } = context.client.info;
    const prompts = promptsOf(body.prompt);
    for (const prompt of prompts) if (typeof prompt !== "string") checkPrompt(prompt, vocabSize);
    checkSampling(context, body);
    const frame = frameOf(context, body, prompts.length);
    const encode = async (prompt: Prompt, signal: AbortSignal) => {
      if (typeof prompt !== "string") return prompt;
      const tokenIds = await context.text.encodePrompt(prompt, signal);
      checkPrompt(tokenIds, vocabSize);
      return tokenIds;
    };
    const read = async (signal: AbortSignal) => {
      const tokenIds = await Promise.all(prompts.map((prompt) => encode(prompt, signal)));
      const sampling = await samplingOf(context, body, body.logprobs ?? undefined, signal);
      const prediction = await predictionOf(context, body, signal);
      return planGeneration(context, frame, tokenIds, sampling, body.max_tokens ?? DEFAULT_MAX_TOKENS, prediction);
    };
    return answer(context, { request, reply, arrivalMs }, { frame, read }, COMPLETION_FORMAT);
  });
}

/** A text to tokenize, or token ids to take as they are. */
type Prompt = string | readonly number[];

function promptsOf(prompt: CompletionBody["prompt"]): readonly Prompt[] {
  const isOne = typeof prompt === "string" || prompt.every((item) => typeof item === "number");
  return isOne ? [prompt as string | number[]] : (prompt as string[] | number[][]);
}

/** @throws ApiError empty_prompt | invalid_token_id */
function checkPrompt(tokenIds: readonly number[], vocabSize: number): void {
  if (tokenIds.length === 0)
    throw new ApiError("empty_prompt", "the prompt is empty; send text or token ids", { param: "prompt" });
  checkIds("prompt", tokenIds, vocabSize);
}
