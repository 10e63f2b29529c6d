import type { FastifyRequest } from "fastify";
import type { Hints } from "../../engine/speculative/proposer.ts";
import { callerOf } from "../auth.ts";
import type { AppContext } from "../context.ts";
import type { CommonBody, Content } from "../schemas/fields.ts";

/** What drafters may know: the predicted answer, and whose texts may be drawn on. @throws ApiError invalid_value */
export async function hintsOf({ text }: AppContext, request: FastifyRequest, body: CommonBody): Promise<Hints> {
  const cacheSalt = callerOf(request);
  const { content } = body.prediction ?? {};
  if (content === undefined) return { cacheSalt };
  return { cacheSalt, prediction: await text.encodePrediction(joinParts(content, "")) };
}

export function joinParts(content: Content, separator: string): string {
  return typeof content === "string" ? content : content.map(({ text }) => text).join(separator);
}
