import type { FastifyInstance } from "fastify";
import type { AppContext } from "../context.ts";
import { ApiError } from "../errors.ts";
import { answer } from "../generation/answer.ts";
import { CHAT_FORMAT } from "../generation/format.ts";
import { frameOf, planGeneration } from "../generation/plan.ts";
import { joinParts, predictionOf } from "../generation/prediction.ts";
import { checkSampling, samplingOf } from "../generation/sampling.ts";
import { type ChatBody, chatSchema } from "../schemas/fields.ts";
import { parseBody } from "../schemas/parse.ts";
import type { ChatMessage } from "../text-service.ts";
import { checkModel } from "./models.ts";

export function registerChat(app: FastifyInstance, context: AppContext): void {
  app.post("/v1/chat/completions", async (request, reply) => {
    const arrivalMs = performance.now();
    const body = parseBody(chatSchema, request.body, request.log);
    checkModel(context.model, body.model);
    checkSampling(context, body);
    const logprobs = numLogprobs(body);
    const maxTokens = body.max_completion_tokens ?? body.max_tokens ?? undefined;
    const frame = frameOf(context, body, 1);
    const read = async (signal: AbortSignal) => {
      const prompt = await context.text.encodeChat(body.messages.map(flatten), signal);
      const sampling = await samplingOf(context, body, logprobs, signal);
      const prediction = await predictionOf(context, body, signal);
      return planGeneration(context, frame, [prompt], sampling, maxTokens, prediction);
    };
    return answer(context, { request, reply, arrivalMs }, { frame, read }, CHAT_FORMAT);
  });
}

/** Best tokens whose log-probabilities are asked for; undefined: none, not even the drawn ones'. @throws ApiError invalid_value */
function numLogprobs({ logprobs, top_logprobs: numTop }: ChatBody): number | undefined {
  if (logprobs) return numTop ?? 0;
  if ((numTop ?? 0) === 0) return undefined;
  const message = `top_logprobs is ${numTop}, but logprobs is not true; set it, or leave top_logprobs out`;
  throw new ApiError("invalid_value", message, { param: "top_logprobs" });
}

/** Text parts are joined by line breaks; templates know "system", which OpenAI has renamed "developer". */
function flatten({ role, content }: ChatBody["messages"][number]): ChatMessage {
  return {
    role: role === "developer" ? "system" : role,
    content: joinParts(content, "\n"),
  };
}
