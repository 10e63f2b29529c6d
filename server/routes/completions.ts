import type { FastifyInstance } from "fastify";
import type { AppContext } from "../context.ts";
import { ApiError } from "../errors.ts";
import { answer } from "../generation/answer.ts";
import { COMPLETION_FORMAT } from "../generation/format.ts";
import { planGeneration } from "../generation/plan.ts";
import { predictionOf } from "../generation/prediction.ts";
import { samplingOf } from "../generation/sampling.ts";
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
    const prompts = await promptsOf(context, body.prompt);
    const sampling = await samplingOf(context, body, body.logprobs ?? undefined);
    const prediction = await predictionOf(context, body);
    const plan = planGeneration(context, body, prompts, sampling, body.max_tokens ?? DEFAULT_MAX_TOKENS, prediction);
    return answer(context, { request, reply, arrivalMs }, plan, COMPLETION_FORMAT);
  });
}

/** Strings are tokenized, token ids taken as they are. @throws ApiError empty_prompt | invalid_token_id */
async function promptsOf(
  { client, text }: AppContext,
  prompt: CompletionBody["prompt"],
): Promise<readonly (readonly number[])[]> {
  const { vocabSize } = client.info;
  const encode = async (one: string | number | readonly number[]) =>
    typeof one === "string" ? text.encodePrompt(one) : [one].flat();
  const isOne = typeof prompt === "string" || prompt.every((item) => typeof item === "number");
  const prompts = isOne ? [await encode(prompt as string | number[])] : await Promise.all([...prompt].map(encode));
  for (const tokenIds of prompts) {
    if (tokenIds.length === 0)
      throw new ApiError("empty_prompt", "the prompt is empty; send text or token ids", { param: "prompt" });
    const foreign = tokenIds.find((id) => id >= vocabSize);
    if (foreign === undefined) continue;
    const message = `prompt: token id ${foreign} is not in the vocabulary: ids go from 0 to ${vocabSize - 1}`;
    throw new ApiError("invalid_token_id", message, { param: "prompt" });
  }
  return prompts;
}
