import type { EngineOutput, EngineRequest } from "../client.ts";
import type { OutputStream } from "../output-stream.ts";

/** A sequence between its request and its last output, with all that a replay needs. */
export interface Flight {
  readonly key: number;
  readonly request: EngineRequest;
  readonly stream: OutputStream;
  /** Generated tokens that have come, those included that the request came with. */
  readonly outputTokenIds: readonly number[];
  /** By the clock of `expire`; infinite where it has none. */
  readonly deadlineMs: number;
  /** An engine knew it that is gone. */
  readonly isLost: boolean;
  /** Nobody waits for it any more. Where the engine may be at it, it stays until there is an output of it, or its trial ends, or the engine fails. */
  readonly isOver: boolean;
}

type FlightState = Flight & {
  readonly outputTokenIds: number[];
  isLost: boolean;
  /** What its first step said of waiting and of the prefix cache, whichever engine had that. */
  first?: Pick<EngineOutput, "queueMs" | "numCachedTokens">;
  /** The engine that runs now knows it. */
  isSent: boolean;
  /** It was in an engine that failed, and may be what that died of until it has had so many outputs more. */
  numTrialOutputs: number;
  isOver: boolean;
};

/**
 * The outputs after which a sequence is past the place where the engine died: that may have been two steps ahead of what it had told,
 * and be in the third.
 */
export const NUM_TRIAL_OUTPUTS = 3;

/**
 * The sequences in flight, in order of arrival, and who may be sent to the engine when. After a failure those that were in the
 * engine are suspects: they are sent one at a time, each when the one before has got past where the engine died. So if it dies again,
 * it is known of which, and no request kills it more than twice. That holds too where a suspect's reader leaves on the way.
 */
export class Flights {
  readonly #flights = new Map<number, FlightState>();

  get size(): number {
    return this.#flights.size;
  }

  /** Whether the engine has something to do. */
  get areSome(): boolean {
    return [...this.#flights.values()].some(({ isSent }) => isSent);
  }

  has(key: number): boolean {
    return this.#flights.has(key);
  }

  hasId(id: string): boolean {
    return [...this.#flights.values()].some(({ request }) => request.id === id);
  }

  add(key: number, request: EngineRequest, stream: OutputStream, deadlineMs = Number.POSITIVE_INFINITY): void {
    const outputTokenIds = [...(request.outputTokenIds ?? [])];
    const flight = { key, request, stream, outputTokenIds, deadlineMs };
    this.#flights.set(key, { ...flight, isLost: false, isSent: false, numTrialOutputs: 0, isOver: false });
  }

  /** Nothing is in flight any more. @returns what was */
  clear(): readonly Flight[] {
    const flights = [...this.#flights.values()];
    this.#flights.clear();
    return flights;
  }

  /**
   * Its reader has left. One that is on trial stays until that ends, as the engine may hang in it: then it is not the next one that is
   * blamed. Undefined where it is over already.
   */
  abandon(key: number): Flight | undefined {
    const flight = this.#flights.get(key);
    if (flight === undefined || flight.isOver) return undefined;
    flight.isOver = true;
    if (flight !== this.#onTrial()) this.#flights.delete(key);
    return flight;
  }

  /**
   * Those whose deadline has come, each of them once: their readers are to be told. What the engine has stays in flight until there is
   * an output of it, the engine's own end of it at the latest: if it hangs, it still has work, and is known to hang in this.
   */
  expire(nowMs: number): readonly Flight[] {
    const due = [...this.#flights.values()].filter(({ deadlineMs, isOver }) => deadlineMs <= nowMs && !isOver);
    for (const flight of due) {
      flight.isOver = true;
      if (!flight.isSent) this.#flights.delete(flight.key);
    }
    return due;
  }

  /** Those to send now; they count as sent. */
  takeSendable(): readonly Flight[] {
    const flights = [...this.#flights.values()];
    if (this.#onTrial() !== undefined) return [];
    const suspect = flights.find(isSuspect);
    const sendable = suspect ? [suspect] : flights.filter(({ isSent }) => !isSent);
    return sendable.map((flight) => {
      const now = { ...flight };
      flight.isSent = true;
      flight.isLost = false;
      return now;
    });
  }

  /** Takes note of an output; what its reader is to get, with what its first step said. Undefined where it is not in flight. */
  receive(key: number, output: EngineOutput): { readonly flight: Flight; readonly output: EngineOutput } | undefined {
    const flight = this.#flights.get(key);
    if (flight === undefined) return undefined;
    flight.numTrialOutputs = Math.max(0, flight.numTrialOutputs - 1);
    flight.outputTokenIds.push(...output.tokenIds);
    const { queueMs, numCachedTokens } = output;
    if (queueMs !== undefined) {
      flight.first ??= { queueMs, ...(numCachedTokens === undefined ? {} : { numCachedTokens }) };
    }
    if (output.finishReason !== undefined || (flight.isOver && !isSuspect(flight))) this.#flights.delete(key);
    return { flight, output: { ...output, ...flight.first } };
  }

  /**
   * The engine failed and has lost them all.
   * @returns the one that was on trial: it is in flight no more, and not to be replayed again
   */
  lose(): Flight | undefined {
    const condemned = this.#onTrial();
    if (condemned) this.#flights.delete(condemned.key);
    for (const flight of this.#flights.values()) {
      if (!flight.isSent) continue;
      if (flight.isOver) this.#flights.delete(flight.key);
      flight.isSent = false;
      flight.isLost = true;
      flight.numTrialOutputs = condemned ? 0 : NUM_TRIAL_OUTPUTS;
    }
    return condemned;
  }

  #onTrial(): FlightState | undefined {
    return [...this.#flights.values()].find((flight) => flight.isSent && isSuspect(flight));
  }
}

const isSuspect = ({ numTrialOutputs }: FlightState) => numTrialOutputs > 0;
