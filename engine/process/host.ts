import type { CreatedEngine, EngineOptions } from "../engine-options.ts";
import { HostedEngine } from "./hosted-engine.ts";
import { toPlainError } from "./plain-error.ts";
import { asCommand, type Report } from "./protocol.ts";

/**
 * Makes this process an engine's: it does what its parent sends, and ends with the channel to it.
 * @param create makes the engine that `start` asks for
 */
export function hostEngine(create: (options: EngineOptions) => Promise<CreatedEngine>): void {
  // A terminal and a service manager send these to the whole group. The parent drains; the engine has to go on meanwhile.
  process.on("SIGINT", () => {});
  process.on("SIGTERM", () => {});
  // Nothing of it is wanted any more, and an orderly exit would wait for the device.
  process.on("disconnect", () => process.kill(process.pid, "SIGKILL"));
  let engine: HostedEngine | undefined;
  const start = async (options: EngineOptions) => {
    try {
      const { client, model } = await create(options);
      engine = new HostedEngine(client, send);
      send({ type: "ready", info: client.info, model });
    } catch (error) {
      send({ type: "failed", error: toPlainError(error) });
    }
  };
  process.on("message", (message) => {
    const command = asCommand(message);
    switch (command.type) {
      case "start":
        return void start(command.options);
      case "generate":
        return engine?.generate(command.key, command.request);
      case "abort":
        return engine?.abort(command.key);
      case "ping":
        return send({ type: "pong", ...(engine?.memory ? { memory: engine.memory } : {}) });
    }
  });
}

function send(report: Report): void {
  // A channel that closed meanwhile ends the process by its own event.
  process.send?.(report, undefined, undefined, () => {});
}
