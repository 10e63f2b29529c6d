import type { EngineOutput, FinishReason } from "../../engine/client.ts";
import type { AppContext } from "../context.ts";
import { ApiError, ClientClosedError } from "../errors.ts";
import type { TextDelta, TextOutput } from "../text-service.ts";
import type { AnswerToken } from "./logprobs.ts";
import type { ChoicePlan } from "./plan.ts";
import type { ChoiceTally } from "./tally.ts";

/** Text that became ready; the last event of a choice says why it ended. */
export interface ChoiceEvent {
  readonly text: string;
  readonly pieces: TextDelta["pieces"];
  /** The tokens that are out with the text, where their log-probabilities were asked for. */
  readonly tokens: readonly AnswerToken[];
  readonly finishReason?: "stop" | "length";
}

export function deadlineExceeded({ admission }: AppContext, timeoutSeconds: number | undefined): ApiError {
  const message = `the request was not finished within ${timeoutSeconds} s; allow more time, or ask for fewer tokens`;
  const headers = { "retry-after": String(admission.retryAfterSeconds) };
  return new ApiError("deadline_exceeded", message, { headers });
}

/** One choice on its way: outputs of the engine become text, figures and metrics. */
export class Choice {
  readonly plan: ChoicePlan;
  readonly #context: AppContext;
  readonly #outputs: AsyncIterable<EngineOutput>;
  readonly #text: TextOutput;
  readonly #signal: AbortSignal;
  readonly #arrivalMs: number;
  /** From then until the engine had it. */
  readonly #readMs: number;
  readonly #timeoutSeconds: number | undefined;
  /** Tokens that are not out yet, where their log-probabilities were asked for. */
  #held: Omit<AnswerToken, "start">[] = [];
  #tally: ChoiceTally = {
    numTokens: 0,
    numDraft: 0,
    numAccepted: 0,
    firstAtMs: undefined,
    lastAtMs: undefined,
    numFirst: 0,
    numCached: 0,
  };

  /**
   * Queues the sequence at once. `events()` must then be read, or `signal` aborted.
   * @throws EngineRequestError, EngineDeadError
   */
  constructor(
    context: AppContext,
    plan: ChoicePlan,
    request: {
      readonly id: string;
      /** When the request had come: its times and its timeout count from there. */
      readonly arrivalMs: number;
      readonly signal: AbortSignal;
      readonly text: TextOutput;
      readonly caller: string;
      readonly priority: number;
      /** The engine's to keep. */
      readonly timeoutSeconds?: number;
    },
  ) {
    this.plan = plan;
    this.#context = context;
    this.#text = request.text;
    this.#signal = request.signal;
    this.#arrivalMs = request.arrivalMs;
    this.#readMs = performance.now() - request.arrivalMs;
    const { choice, promptTokenIds, params, prediction } = plan;
    const { caller, priority, timeoutSeconds } = request;
    this.#timeoutSeconds = timeoutSeconds;
    const timeoutMs = timeoutSeconds === undefined ? undefined : 1000 * timeoutSeconds - this.#readMs;
    this.#outputs = context.client.generate(
      {
        ...{ id: `${request.id}/${plan.index}`, choice, promptTokenIds, params, priority, caller, cacheSalt: caller },
        ...(prediction ? { prediction } : {}),
        ...(timeoutMs === undefined ? {} : { timeoutMs }),
      },
      request.signal,
    );
  }

  get tally(): ChoiceTally {
    return this.#tally;
  }

  /** @throws ApiError engine_failed, deadline_exceeded, or the reason that `signal` was aborted with. */
  async *events(): AsyncGenerator<ChoiceEvent> {
    for await (const output of this.#outputs) {
      if (output.finishReason === "error") throw this.#failed(output.error);
      if (output.finishReason === "abort") throw this.#aborted();
      if (output.finishReason === "deadline") throw this.#expired();
      // The token that ends a sequence is not part of its text.
      const tokenIds = output.finishReason === "stop" ? output.tokenIds.slice(0, -1) : output.tokenIds;
      this.#hold(tokenIds, output.logprobs);
      const delta = this.#text.push(tokenIds, output.numAccepted);
      const { text, pieces, numTokens, stopped } = delta;
      this.#count(output, stopped ? numTokens : output.tokenIds.length);
      if (stopped) {
        this.#finish("stop");
        yield { text, pieces, tokens: this.#takeOut(delta), finishReason: "stop" };
        return;
      }
      const tokens = this.#takeOut(delta);
      if (output.finishReason === undefined) {
        if (text !== "" || tokens.length > 0) yield { text, pieces, tokens };
        continue;
      }
      const rest = this.#text.flush();
      this.#finish(output.finishReason);
      yield {
        ...{ text: text + rest.text, pieces: [...pieces, ...rest.pieces], tokens: [...tokens, ...this.#takeOut(rest)] },
        finishReason: output.finishReason,
      };
      return;
    }
  }

  #hold(tokenIds: readonly number[], logprobs: EngineOutput["logprobs"]): void {
    const tokens = tokenIds.flatMap((tokenId, i) => {
      const one = logprobs?.[i];
      return one ? { tokenId, ...one } : [];
    });
    this.#held.push(...tokens);
  }

  #takeOut({ tokenStarts }: TextDelta): AnswerToken[] {
    return this.#held.splice(0, tokenStarts.length).map((token, i) => ({ ...token, start: tokenStarts[i] ?? 0 }));
  }

  #count(output: EngineOutput, numTokens: number): void {
    const now = performance.now();
    const { metrics } = this.#context;
    const { firstAtMs, lastAtMs } = this.#tally;
    if (lastAtMs === undefined) {
      metrics.observeFirstOutput({
        totalSeconds: (now - this.#arrivalMs) / 1000,
        queueSeconds: (this.#readMs + (output.queueMs ?? 0)) / 1000,
        promptTokens: this.plan.promptTokenIds.length,
      });
    } else metrics.observeNextOutput((now - lastAtMs) / 1000);
    this.#tally = {
      numTokens: this.#tally.numTokens + numTokens,
      numDraft: this.#tally.numDraft + output.numDraft,
      numAccepted: this.#tally.numAccepted + Math.min(output.numAccepted, numTokens),
      firstAtMs: firstAtMs ?? now,
      lastAtMs: now,
      // Of the first output: an engine that replays the sequence may find less.
      numCached: firstAtMs === undefined ? (output.numCachedTokens ?? 0) : this.#tally.numCached,
      numFirst: firstAtMs === undefined ? numTokens : this.#tally.numFirst,
    };
  }

  #finish(finishReason: FinishReason): void {
    const { numTokens, numFirst, firstAtMs, lastAtMs } = this.#tally;
    const now = performance.now();
    this.#context.metrics.observeFinished({
      finishReason,
      promptTokens: this.plan.promptTokenIds.length,
      generatedTokens: numTokens,
      totalSeconds: (now - this.#arrivalMs) / 1000,
      decodeSeconds: ((lastAtMs ?? now) - (firstAtMs ?? now)) / 1000,
      decodedTokens: numTokens - numFirst,
    });
  }

  #failed(message: string | undefined): Error {
    this.#finish("error");
    return new ApiError("engine_failed", `the engine failed: ${message ?? "no reason given"}; send the request again`);
  }

  #expired(): Error {
    this.#finish("deadline");
    return deadlineExceeded(this.#context, this.#timeoutSeconds);
  }

  #aborted(): Error {
    this.#finish("abort");
    const { reason } = this.#signal;
    return reason instanceof Error ? reason : new ClientClosedError();
  }
}
