import type { AppContext } from "../context.ts";
import type { CommonBody, Content } from "../schemas/fields.ts";

/** Token ids of what the answer may be for the most part, where the request says so. @throws ApiError invalid_value */
export async function predictionOf(
  { text }: AppContext,
  { prediction }: CommonBody,
  signal: AbortSignal,
): Promise<readonly number[] | undefined> {
  return prediction ? text.encodePrediction(joinParts(prediction.content, ""), signal) : undefined;
}

export function joinParts(content: Content, separator: string): string {
  return typeof content === "string" ? content : content.map(({ text }) => text).join(separator);
}
