import { GpuError } from "../../kernels/index.ts";
import type { EngineClient, EngineMemory, EngineRequest, StepStats } from "../client.ts";
import { EngineDeadError } from "../errors.ts";
import { NOTHING } from "../output-stream.ts";
import type { Report, SequenceOutput } from "./protocol.ts";

/** An engine in this process whose outputs are sent on: one report for all that comes about in a turn of the event loop. */
export class HostedEngine {
  readonly #client: EngineClient;
  readonly #send: (report: Report) => void;
  readonly #aborts = new Map<number, AbortController>();
  #outputs: SequenceOutput[] = [];
  #steps: StepStats[] = [];
  #isDue = false;

  constructor(client: EngineClient, send: (report: Report) => void) {
    this.#client = client;
    this.#send = send;
    client.onStep((stats) => {
      this.#steps.push(stats);
      this.#reportSoon();
    });
  }

  get memory(): EngineMemory | undefined {
    return this.#client.memory;
  }

  generate(key: number, request: EngineRequest): void {
    const abort = new AbortController();
    this.#aborts.set(key, abort);
    void this.#serve(key, request, abort.signal);
  }

  abort(key: number): void {
    this.#aborts.get(key)?.abort();
  }

  async #serve(key: number, request: EngineRequest, signal: AbortSignal): Promise<void> {
    try {
      for await (const output of this.#client.generate(request, signal)) {
        this.#outputs.push({ key, output });
        this.#reportSoon();
      }
    } catch (error) {
      // The sender has checked the request, so what is wrong is no client's to mend.
      const message = error instanceof Error ? error.message : String(error);
      this.#outputs.push({ key, output: { ...NOTHING, finishReason: "error", error: message } });
      this.#reportSoon();
    } finally {
      this.#aborts.delete(key);
    }
  }

  #reportSoon(): void {
    if (this.#isDue) return;
    this.#isDue = true;
    setImmediate(() => this.#report());
  }

  /** A dead engine ends its sequences with errors: those are not sent, as others may go on with the sequences. */
  #report(): void {
    const [outputs, steps] = [this.#outputs, this.#steps];
    [this.#outputs, this.#steps, this.#isDue] = [[], [], false];
    try {
      this.#send({ type: "progress", outputs, steps, load: this.#client.load() });
    } catch (error) {
      if (!(error instanceof EngineDeadError)) throw error;
      const isDeviceLost = error.cause instanceof GpuError && error.cause.code === "device_lost";
      this.#send({ type: "dead", reason: error.message, isDeviceLost });
    }
  }
}
