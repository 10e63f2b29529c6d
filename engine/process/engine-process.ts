import { type ChildProcess, fork } from "node:child_process";
import { once } from "node:events";
import { extname } from "node:path";
import type { EngineInfo } from "../client.ts";
import type { EngineOptions, ServedAssets } from "../engine-options.ts";
import { fromPlainError } from "./plain-error.ts";
import { asReport, type Command, type Report } from "./protocol.ts";

/** What the child process runs: a module that calls `hostEngine`. */
export interface HostModule {
  readonly path: string | URL;
  /** Node's own arguments; by default this process's. */
  readonly execArgv?: readonly string[];
}

/** The engine of this package, compiled or not as this file is. */
export const ENGINE_HOST: HostModule = {
  path: new URL(`./main${extname(import.meta.filename)}`, import.meta.url),
};

/** Reports of an engine that is ready. */
export type RunningReport = Exclude<Report, { readonly type: "ready" | "failed" }>;

export interface ProcessListener {
  onReport(report: RunningReport): void;
  /** It ended, whoever ended it. Called once, and nothing after it. */
  onEnd(reason: string): void;
}

/** One engine in a child process, from its start to its end. */
export class EngineProcess {
  readonly #child: ChildProcess;
  #listener: ProcessListener | undefined;
  #end: string | undefined;

  private constructor(child: ChildProcess) {
    this.#child = child;
    child.once("exit", (code, signal) => this.#ended(`the engine's process ended (${signal ?? `exit code ${code}`})`));
    child.once("error", (error) => this.#ended(`the engine's process failed: ${error.message}`));
  }

  /**
   * Resolves when the engine is ready.
   * @param limitMs it is killed and given up after this long
   * @throws what creating the engine threw in the child; Error where the process ended before it was ready, or took too long
   */
  static async start(
    options: EngineOptions,
    { path, execArgv }: HostModule = ENGINE_HOST,
    limitMs?: number,
  ): Promise<StartedProcess> {
    const child = fork(path, [], {
      serialization: "advanced",
      // Standard output is the server's alone.
      stdio: ["ignore", 2, 2, "ipc"],
      ...(execArgv ? { execArgv: [...execArgv] } : {}),
    });
    const engine = new EngineProcess(child);
    const timer = limitMs === undefined ? undefined : setTimeout(() => child.kill("SIGKILL"), limitMs);
    try {
      engine.send({ type: "start", options });
      return { process: engine, ...(await engine.#whenReady()) };
    } catch (error) {
      await engine.kill();
      throw error;
    } finally {
      clearTimeout(timer);
    }
  }

  /** A command to a process that has ended is lost. */
  send(command: Command): void {
    if (this.#child.connected) this.#child.send(command, () => {});
  }

  /** Reports go to `listener` from now on. */
  listen(listener: ProcessListener): void {
    this.#listener = listener;
    if (this.#end !== undefined) listener.onEnd(this.#end);
  }

  /** Ends it at once, whatever it does, and waits until it has: its memory is free then. Its listener hears nothing more. */
  async kill(): Promise<void> {
    this.#listener = undefined;
    const { exitCode, signalCode, pid } = this.#child;
    if (pid === undefined || exitCode !== null || signalCode !== null) return;
    const exited = once(this.#child, "exit");
    this.#child.kill("SIGKILL");
    await exited;
  }

  #whenReady(): Promise<{ readonly info: EngineInfo; readonly model: ServedAssets }> {
    return new Promise((resolve, reject) => {
      this.#listener = { onReport: () => {}, onEnd: (reason) => reject(new Error(reason)) };
      if (this.#end !== undefined) reject(new Error(this.#end));
      this.#child.on("message", (message) => {
        const report = asReport(message);
        if (report.type === "ready") resolve(report);
        else if (report.type === "failed") reject(fromPlainError(report.error));
        else this.#listener?.onReport(report);
      });
    });
  }

  #ended(reason: string): void {
    if (this.#end !== undefined) return;
    this.#end = reason;
    const listener = this.#listener;
    this.#listener = undefined;
    listener?.onEnd(reason);
  }
}

export interface StartedProcess {
  readonly process: EngineProcess;
  readonly info: EngineInfo;
  readonly model: ServedAssets;
}
