import type { TokenLogprobs } from "../../engine/client.ts";
import type { TextService } from "../text-service.ts";

/** JSON has no −∞. */
const LOWEST = -9999;

/** A token of an answer with its log-probabilities. */
export interface AnswerToken extends TokenLogprobs {
  readonly tokenId: number;
  /** Where in the answer's text it begins, in UTF-16 units. */
  readonly start: number;
}

/** OpenAI's `logprobs` of a chat's choice. */
export function chatLogprobs(tokens: readonly AnswerToken[], text: TextService): object {
  const entry = (tokenId: number, logprob: number) => ({
    ...{ token: text.decodeToken(tokenId), logprob: finite(logprob), bytes: [...text.tokenBytes(tokenId)] },
  });
  const content = tokens.map(({ tokenId, logprob, top }) => ({
    ...entry(tokenId, logprob),
    top_logprobs: top.map((one) => entry(one.tokenId, one.logprob)),
  }));
  return { content, refusal: null };
}

/** OpenAI's `logprobs` of a completion's choice. The token itself is always among its `top_logprobs`. */
export function completionLogprobs(tokens: readonly AnswerToken[], text: TextService): object {
  return {
    text_offset: tokens.map(({ start }) => start),
    token_logprobs: tokens.map(({ logprob }) => finite(logprob)),
    tokens: tokens.map(({ tokenId }) => text.decodeToken(tokenId)),
    top_logprobs: tokens.map(({ tokenId, logprob, top }) => byText([...top, { tokenId, logprob }], text)),
  };
}

/** Of tokens that look the same, as parts of characters do, the likeliest counts. */
function byText(tokens: AnswerToken["top"], text: TextService): Readonly<Record<string, number>> {
  const logprobs = new Map<string, number>();
  for (const { tokenId, logprob } of tokens) {
    const token = text.decodeToken(tokenId);
    if (!logprobs.has(token)) logprobs.set(token, finite(logprob));
  }
  return Object.fromEntries(logprobs);
}

function finite(logprob: number): number {
  return Math.max(LOWEST, logprob);
}
