import { checkAdmissible } from "../scheduler/admissible.ts";
import { SchedulerError } from "../scheduler/errors.ts";
import type { EngineInfo, EngineRequest } from "./client.ts";
import { EngineRequestError } from "./errors.ts";
import { refusalOf } from "./sampling-params.ts";

/** Most tokens that a sequence can have: what the model holds, or less where the KV cache is smaller, of which one block is never allocated. */
export function longestSequence({ maxModelLen, numKvBlocks, blockSize }: EngineInfo): number {
  return Math.min(maxModelLen, (numKvBlocks - 1) * blockSize);
}

/**
 * Whether the engine that `info` tells of could ever serve the request. It is known without asking the engine.
 * @throws EngineRequestError invalid_token_id, invalid_sampling_params, invalid_priority, empty_prompt or context_length_exceeded
 */
export function checkRequest(request: EngineRequest, info: EngineInfo): void {
  const { vocabSize } = info;
  const { promptTokenIds, outputTokenIds = [], params, priority = 0 } = request;
  const isForeign = (token: number) => !Number.isInteger(token) || token < 0 || token >= vocabSize;
  const foreign = promptTokenIds.find(isForeign) ?? outputTokenIds.find(isForeign);
  if (foreign !== undefined) {
    const message = `token id ${foreign} is not in the vocabulary: ids go from 0 to ${vocabSize - 1}`;
    throw new EngineRequestError("invalid_token_id", message);
  }
  const refusal = refusalOf(params, vocabSize);
  if (refusal !== undefined) throw new EngineRequestError("invalid_sampling_params", refusal);
  if (!Number.isSafeInteger(priority)) {
    throw new EngineRequestError("invalid_priority", `the priority is ${priority}, it must be a whole number`);
  }
  try {
    checkAdmissible(request, longestSequence(info));
  } catch (error) {
    if (error instanceof SchedulerError) throw new EngineRequestError(error.code, error.message);
    throw error;
  }
}
