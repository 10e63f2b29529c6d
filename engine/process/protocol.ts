import type { EngineClient, EngineInfo, EngineMemory, EngineOutput, EngineRequest, StepStats } from "../client.ts";
import type { EngineOptions, ServedAssets } from "../engine-options.ts";
import type { PlainError } from "./plain-error.ts";

/** From the server's process to the engine's. The first is `start`, and there is only one. */
export type Command =
  | { readonly type: "start"; readonly options: EngineOptions }
  /** `key`: names the sequence in every message about it; never used twice in the life of a server. */
  | { readonly type: "generate"; readonly key: number; readonly request: EngineRequest }
  | { readonly type: "abort"; readonly key: number }
  | { readonly type: "ping" };

/** From the engine's process to the server's. The first is `ready` or `failed`. */
export type Report =
  | { readonly type: "ready"; readonly info: EngineInfo; readonly model: ServedAssets }
  | { readonly type: "failed"; readonly error: PlainError }
  /** All that came about in one turn of the event loop, as a rule in one step. */
  | {
      readonly type: "progress";
      readonly outputs: readonly SequenceOutput[];
      readonly steps: readonly StepStats[];
      readonly load: ReturnType<EngineClient["load"]>;
    }
  /** Nothing can be generated here any more; what was in flight has not ended by itself. */
  | { readonly type: "dead"; readonly reason: string; readonly isDeviceLost: boolean }
  | { readonly type: "pong"; readonly memory?: EngineMemory };

export interface SequenceOutput {
  readonly key: number;
  readonly output: EngineOutput;
}

type Fields<M extends { readonly type: string }> = {
  readonly [T in M["type"]]: readonly Exclude<keyof Extract<M, { readonly type: T }>, "type">[];
};

const COMMAND_FIELDS: Fields<Command> = {
  start: ["options"],
  generate: ["key", "request"],
  abort: ["key"],
  ping: [],
};

const REPORT_FIELDS: Fields<Report> = {
  ready: ["info", "model"],
  failed: ["error"],
  progress: ["outputs", "steps", "load"],
  dead: ["reason", "isDeviceLost"],
  pong: [],
};

/** @throws Error where the message is none of the commands: the two processes are not of one build. */
export function asCommand(message: unknown): Command {
  if (isOneOf<Command>(message, COMMAND_FIELDS)) return message;
  throw new Error("invariant: the engine's process was sent what is no command");
}

/** @throws Error where the message is none of the reports: the two processes are not of one build. */
export function asReport(message: unknown): Report {
  if (isOneOf<Report>(message, REPORT_FIELDS)) return message;
  throw new Error("invariant: the engine's process sent what is no report");
}

/** Its type is known and every field is there. Both ends are compiled together: what the fields hold is the compiler's to check. */
function isOneOf<M extends { readonly type: string }>(message: unknown, fieldsOf: Fields<M>): message is M {
  if (typeof message !== "object" || message === null || !("type" in message)) return false;
  const fields = new Map<unknown, readonly PropertyKey[]>(Object.entries(fieldsOf)).get(message.type);
  return fields?.every((field) => field in message) ?? false;
}
