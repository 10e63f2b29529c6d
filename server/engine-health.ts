import type { EngineClient } from "../engine/client.ts";
import { EngineDeadError } from "../engine/errors.ts";

export type EngineLoad = ReturnType<EngineClient["load"]>;

const IDLE: EngineLoad = { numRunning: 0, numWaiting: 0, kvUsage: 0 };

/** The engine's load; of a dead engine none, and why it is dead. */
export function readLoad(client: EngineClient): { readonly load: EngineLoad; readonly deadReason?: string } {
  try {
    return { load: client.load() };
  } catch (error) {
    if (error instanceof EngineDeadError) return { load: IDLE, deadReason: error.message };
    throw error;
  }
}

/** Whether the engine was alive when last heard of. A supervised engine may come back, which a step shows. */
export class EngineHealth {
  readonly #client: EngineClient;
  #deadReason: string | undefined;

  constructor(client: EngineClient) {
    this.#client = client;
    client.onStep(() => {
      this.#deadReason = undefined;
    });
  }

  /** Takes note of an error that came out of the engine. */
  observe(error: unknown): void {
    if (error instanceof EngineDeadError) this.#deadReason = error.message;
  }

  /** Why the engine cannot serve, or undefined while it can. */
  whyDead(): string | undefined {
    return readLoad(this.#client).deadReason ?? this.#deadReason;
  }

  /** Why the engine is being started again just now, or undefined while it runs. */
  whyRestarting(): string | undefined {
    return this.#client.supervision?.restarting;
  }
}
