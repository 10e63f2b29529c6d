import type { LogitsProcessor } from "../../kernels/index.ts";
import type { SamplingParams } from "../sampling-params.ts";

/** What a sequence's logits go through at its next positions; undefined where they are drawn from as they are. */
export function processorOf(
  params: SamplingParams,
  { tokenIds, numPromptTokens }: Pick<LogitsProcessor, "tokenIds" | "numPromptTokens">,
): LogitsProcessor | undefined {
  const { logitBias, dry, stopTokenIds } = params;
  const minPosition = numPromptTokens + params.minTokens;
  const mayEnd = stopTokenIds.length === 0 || tokenIds.length >= minPosition;
  if (mayEnd && !hasPenalties(params) && logitBias.length === 0 && dry === undefined) return undefined;
  const { repetitionPenalty, presencePenalty, frequencyPenalty } = params;
  return {
    ...{ repetitionPenalty, presencePenalty, frequencyPenalty, logitBias, minPosition, numPromptTokens, tokenIds },
    endTokenIds: stopTokenIds,
    ...(dry ? { dry } : {}),
  };
}

/** Whether tokens have to be counted. */
export function hasPenalties(
  one: Pick<LogitsProcessor, "repetitionPenalty" | "presencePenalty" | "frequencyPenalty">,
): boolean {
  return one.repetitionPenalty !== 1 || one.presencePenalty !== 0 || one.frequencyPenalty !== 0;
}
