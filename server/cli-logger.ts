import { type DestinationStream, type Logger, pino, stdTimeFunctions } from "pino";
import type { SupervisionEvent } from "../engine/process/supervised-engine.ts";
import type { Config } from "./config.ts";

/** What is needed of standard output. */
export interface Output {
  readonly isTTY?: boolean;
  hasColors?(): boolean;
  write(text: string): unknown;
}

const LEVELS: Readonly<Record<string, { readonly label: string; readonly color: number }>> = {
  10: { label: "trace", color: 90 },
  20: { label: "debug", color: 90 },
  30: { label: "info ", color: 32 },
  40: { label: "warn ", color: 33 },
  50: { label: "error", color: 31 },
  60: { label: "fatal", color: 31 },
};

/** JSON lines for machines; short lines where a person looks at a terminal. */
export function createLogger(level: Config["logLevel"], output: Output): Logger {
  if (!output.isTTY)
    return pino({ level, base: null, timestamp: stdTimeFunctions.isoTime }, output as DestinationStream);
  const color = output.hasColors?.() ?? false;
  return pino({ level, base: null }, { write: (line) => output.write(formatLine(line, color)) });
}

/** "16:20:11 info  request status=200 ms=12", an error's stack below. */
export function formatLine(json: string, color: boolean): string {
  const { level, time, msg = "", err, reqId: _reqId, ...fields } = JSON.parse(json);
  const { label, color: code } = LEVELS[level] ?? { label: String(level), color: 0 };
  const shown = color ? `\x1b[${code}m${label}\x1b[0m` : label;
  const clock = new Date(time).toTimeString().slice(0, 8);
  const rest = Object.entries(fields).map(([key, value]) => ` ${key}=${plain(value)}`);
  const stack = err === undefined ? "" : `\n${err.stack ?? err.message ?? plain(err)}`;
  return `${clock} ${shown} ${msg}${rest.join("")}${stack}\n`;
}

function plain(value: unknown): string {
  return typeof value === "string" ? value : JSON.stringify(value);
}

/** What befell the engine's process, for the person who runs the server. */
export function logSupervision(logger: Logger, event: SupervisionEvent): void {
  if (event.type === "failed") logger.error({ reason: event.reason }, "the engine failed and is started again");
  else if (event.type === "restarted") logger.info({ ms: event.ms }, "the engine runs again; answers under way go on");
  else logger.fatal({ reason: event.reason }, "the engine is given up: find out why, then restart the server");
}
