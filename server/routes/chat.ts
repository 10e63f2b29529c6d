import type { FastifyInstance } from "fastify";
import type { AppContext } from "../context.ts";
import { answer } from "../generation/answer.ts";
import { CHAT_FORMAT } from "../generation/format.ts";
import { planGeneration } from "../generation/plan.ts";
import { type ChatBody, chatSchema } from "../schemas/fields.ts";
import { parseBody } from "../schemas/parse.ts";
import type { ChatMessage } from "../text-service.ts";
import { checkModel } from "./models.ts";

export function registerChat(app: FastifyInstance, context: AppContext): void {
  app.post("/v1/chat/completions", async (request, reply) => {
    const body = parseBody(chatSchema, request.body, request.log);
    checkModel(context.model, body.model);
    const prompt = await context.text.encodeChat(body.messages.map(flatten));
    const maxTokens = body.max_completion_tokens ?? body.max_tokens ?? undefined;
    return answer(context, { request, reply }, planGeneration(context, body, [prompt], maxTokens), CHAT_FORMAT);
  });
}

/** Text parts are joined by line breaks; templates know "system", which OpenAI has renamed "developer". */
function flatten({ role, content }: ChatBody["messages"][number]): ChatMessage {
  return {
    role: role === "developer" ? "system" : role,
    content: typeof content === "string" ? content : content.map(({ text }) => text).join("\n"),
  };
}
