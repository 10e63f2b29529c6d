import type { EngineClient } from "../engine/client.ts";
import { EngineDeadError } from "../engine/errors.ts";

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
    try {
      this.#client.load();
    } catch (error) {
      this.observe(error);
    }
    return this.#deadReason;
  }
}
