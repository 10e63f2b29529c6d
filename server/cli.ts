#!/usr/bin/env node
import type { EngineOptions } from "../engine/engine-options.ts";
import { explain, formatExplanation } from "./cli-errors.ts";
import { mainHelp, serveHelp, versionText } from "./cli-help.ts";
import { createLogger, logSupervision } from "./cli-logger.ts";
import type { Config } from "./config.ts";
import { loadConfig, UsageError } from "./config-load.ts";
import { closest } from "./config-suggest.ts";
import { onStopSignals } from "./shutdown.ts";
import { runSuccessors, successorsHelp } from "./successors-command.ts";

/** Ends the process through `fail` or a signal; returns once the server is ready. */
async function main(args: readonly string[]): Promise<void> {
  const [command, ...rest] = args;
  const options = args.includes("--") ? args.slice(0, args.indexOf("--")) : args;
  const wantsHelp =
    command === undefined || command === "help" || options.some((arg) => arg === "--help" || arg === "-h");
  if (wantsHelp) process.stdout.write(helpOf(args));
  else if (options.some((arg) => arg === "--version" || arg === "-v")) process.stdout.write(`${versionText()}\n`);
  else if (command === "serve") await runServe(rest);
  else if (command === "successors") await runSuccessors(rest, process.stdout);
  else throw unknownCommand(command);
}

function helpOf(args: readonly string[]): string {
  if (args.includes("serve")) return serveHelp();
  return args.includes("successors") ? successorsHelp() : mainHelp();
}

function unknownCommand(command: string): UsageError {
  if (command.startsWith("-")) {
    return new UsageError(`options follow the command: canopy serve ${command} ...`);
  }
  const meant = closest(command, ["serve", "successors", "help"]);
  const advice = meant === undefined ? `to serve a model: canopy serve ${command}` : `did you mean canopy ${meant}?`;
  return new UsageError(`unknown command ${command}; ${advice}`);
}

async function runServe(args: readonly string[]): Promise<void> {
  const { config, warnings } = loadConfig(args);
  const logger = createLogger(config.logLevel, process.stdout);
  for (const warning of warnings) logger.warn(warning);
  // Loading has nothing to drain, so a signal then ends it at once. A container's first process needs a listener even so.
  let stop = async () => {};
  onStopSignals(process, () => void stop().then(() => process.exit(0), fail), process.exit);
  try {
    // Help and usage errors should not wait for the GPU library.
    const [{ serve }, { openText }, { superviseEngine }] = await Promise.all([
      import("./main.ts"),
      import("./threaded-text-service.ts"),
      import("../engine/process/supervised-engine.ts"),
    ]);
    const createEngine = (options: EngineOptions) =>
      superviseEngine(options, { onEvent: (event) => logSupervision(logger, event) });
    const running = await serve(config, { createEngine, openText, logger, output: process.stdout });
    stop = running.shutDown;
  } catch (error) {
    fail(error, config);
  }
}

function fail(error: unknown, config?: Config): never {
  const explanation = explain(error, config);
  process.stderr.write(formatExplanation(explanation));
  process.exit(explanation.exitCode);
}

await main(process.argv.slice(2)).catch((error: unknown) => fail(error));
