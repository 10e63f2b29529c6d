import { randomUUID } from "node:crypto";
import type { FastifyReply, FastifyRequest } from "fastify";
import { callerOf } from "../auth.ts";
import type { AppContext } from "../context.ts";
import { toApiError } from "../error-mapping.ts";
import { ClientClosedError } from "../errors.ts";
import { SseStream } from "../sse.ts";
import type { TextService } from "../text-service.ts";
import { Choice, deadlineExceeded } from "./choice.ts";
import { type AnswerFormat, withPieces } from "./format.ts";
import type { AnswerToken } from "./logprobs.ts";
import type { GenerationPlan, RequestFrame } from "./plan.ts";
import { timingsOf, usageOf } from "./tally.ts";

/** One request from the queue to its last byte. */
interface Answer {
  readonly plan: GenerationPlan;
  readonly format: AnswerFormat;
  readonly choices: readonly Choice[];
  readonly text: TextService;
  /** Fields that every chunk and the whole answer have. */
  readonly head: {
    readonly id: string;
    readonly created: number;
    readonly model: string;
    readonly system_fingerprint: string;
  };
  readonly arrivalMs: number;
}

/** What a route makes of a request's body. */
interface Asked {
  readonly frame: RequestFrame;
  /** Reads its texts, which may take long and wait long; ends with the reason of `signal` once it is aborted. */
  readonly read: (signal: AbortSignal) => Promise<GenerationPlan>;
}

/** Lets the request in, reads its texts, generates what it asks for, and sends that whole or as a stream. */
export async function answer(
  context: AppContext,
  http: {
    readonly request: FastifyRequest;
    readonly reply: FastifyReply;
    /** When the request had come as a whole. */
    readonly arrivalMs: number;
  },
  asked: Asked,
  format: AnswerFormat,
): Promise<object | undefined> {
  const { request, reply, arrivalMs } = http;
  const { frame } = asked;
  const controller = new AbortController();
  const onClose = () => {
    if (reply.raw.writableFinished) return;
    controller.abort(new ClientClosedError());
    if (frame.stream) context.metrics.countCancellation();
  };
  reply.raw.once("close", onClose);
  // Gone while its body was read: there is no event to come.
  if (reply.raw.destroyed) {
    onClose();
    throw controller.signal.reason;
  }
  const caller = callerOf(request);
  // Before its texts are read: those that wait for that take places too.
  const ticket = context.admission.enter(frame.numChoices, caller, (reason) => controller.abort(reason));
  const stream = new SseStream(reply.raw, context.sse);
  try {
    const plan = await readInTime(context, asked, controller, arrivalMs);
    const made = begin(context, plan, format, { signal: controller.signal, caller, arrivalMs });
    if (!plan.stream) return await answerWhole(made);
    const open = () => {
      if (stream.isOpen) return;
      reply.hijack();
      stream.open(reply.getHeaders());
    };
    // With a deadline the headers wait for the first text: until then one that passes is a plain status.
    if (plan.timeoutSeconds === undefined) open();
    await answerStream(made, stream, open);
    return undefined;
  } catch (error) {
    context.health.observe(error);
    // A sequence of a request that failed must not go on.
    controller.abort(error);
    if (!stream.isOpen) throw error;
    if (!(error instanceof ClientClosedError)) request.log.warn({ err: error }, "a stream failed");
    stream.fail(toApiError(error).toBody());
    return undefined;
  } finally {
    ticket.release();
  }
}

/** The plan, unless the request is aborted before, or its time is over. From then on the engine keeps the time. */
async function readInTime(
  context: AppContext,
  { frame: { timeoutSeconds }, read }: Asked,
  controller: AbortController,
  arrivalMs: number,
): Promise<GenerationPlan> {
  const { signal } = controller;
  const onLate = () => controller.abort(deadlineExceeded(context, timeoutSeconds));
  const timer =
    timeoutSeconds === undefined
      ? undefined
      : setTimeout(onLate, 1000 * timeoutSeconds + arrivalMs - performance.now());
  try {
    const plan = await read(signal);
    signal.throwIfAborted();
    return plan;
  } finally {
    clearTimeout(timer);
  }
}

/** Queues every choice. When one is refused the others are taken back by the caller's abort. */
function begin(
  context: AppContext,
  plan: GenerationPlan,
  format: AnswerFormat,
  { arrivalMs, ...from }: { readonly signal: AbortSignal; readonly caller: string; readonly arrivalMs: number },
): Answer {
  const id = `${format.idPrefix}${randomUUID().replaceAll("-", "")}`;
  const { priority, timeoutSeconds } = plan;
  const timeout = timeoutSeconds === undefined ? {} : { timeoutSeconds };
  const continuation = format.opening(0) === undefined;
  const choices = plan.choices.map((choice) => {
    const { minTokens } = choice.params;
    const text = context.text.createOutput(plan.stop, { continuation, minTokens });
    return new Choice(context, choice, { id, arrivalMs, text, priority, ...timeout, ...from });
  });
  const { fingerprint } = context.client.info;
  const created = Math.floor(Date.now() / 1000);
  const head = { id, created, model: context.model.names[0], system_fingerprint: fingerprint };
  return { plan, format, choices, text: context.text, head, arrivalMs };
}

async function answerWhole(made: Answer): Promise<object> {
  const { format, head } = made;
  const choices = await Promise.all(
    made.choices.map(async (choice) => {
      let text = "";
      let finishReason: "stop" | "length" = "length";
      const tokens: AnswerToken[] = [];
      for await (const event of choice.events()) {
        text += event.text;
        tokens.push(...event.tokens);
        finishReason = event.finishReason ?? finishReason;
      }
      return format.whole(choice.plan.index, text, finishReason, logprobsOf(made, choice, tokens));
    }),
  );
  return { ...head, object: format.object, choices, ...figures(made) };
}

/**
 * Chunks in OpenAI's order: opening, deltas, closing; then usage if asked for, and [DONE]. A stream that is not open yet is
 * opened by the first text.
 */
async function answerStream(made: Answer, stream: SseStream, open: () => void): Promise<void> {
  const { format, head, plan } = made;
  const chunk = (choice: object, more: object = {}) =>
    stream.send({ ...head, object: format.chunkObject, choices: [choice], ...more });
  let numLeft = made.choices.length;
  await Promise.all(
    made.choices.map(async (choice) => {
      const { index } = choice.plan;
      const events = choice.events();
      const first = stream.isOpen ? undefined : await events.next();
      open();
      const opening = format.opening(index);
      if (opening) await chunk(opening);
      for (let next = first ?? (await events.next()); !next.done; next = await events.next()) {
        const { text, pieces, tokens, finishReason } = next.value;
        const delta = format.delta(index, text, logprobsOf(made, choice, tokens));
        if (text !== "" || tokens.length > 0) await chunk(plan.withPieces ? withPieces(delta, pieces) : delta);
        if (finishReason === undefined) continue;
        numLeft -= 1;
        await chunk(format.closing(index, finishReason), numLeft === 0 ? { timings: figures(made).timings } : {});
      }
    }),
  );
  if (plan.includeUsage) {
    await stream.send({ ...head, object: format.chunkObject, choices: [], usage: figures(made).usage });
  }
  stream.end();
}

function logprobsOf({ format, text }: Answer, { plan }: Choice, tokens: readonly AnswerToken[]): object | null {
  return plan.params.logprobs === undefined ? null : format.logprobs(tokens, text);
}

function figures({ plan, choices, arrivalMs }: Answer) {
  const tallies = choices.map(({ tally }) => tally);
  const prompt = { numTokens: plan.numPromptTokens, numCached: numCachedOf(choices) };
  return {
    usage: usageOf({ ...prompt, hasPrediction: plan.hasPrediction }, tallies),
    timings: timingsOf(prompt, arrivalMs, tallies),
  };
}

/** A prompt counts once, as its first choice found it: the others find what that has computed. */
function numCachedOf(choices: readonly Choice[]): number {
  const first = choices.filter(({ plan }) => plan.choice === 0);
  return first.reduce((sum, { tally }) => sum + tally.numCached, 0);
}
