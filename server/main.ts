import type { Logger } from "pino";
import type { CreatedEngine, EngineOptions } from "../engine/engine-options.ts";
import type { TextAssets } from "../engine/model/types.ts";
import { type App, buildApp } from "./app.ts";
import { type BannerFacts, bannerFields, formatBanner, SOFTWARE_WARNING, urlOf } from "./banner.ts";
import type { Output } from "./cli-logger.ts";
import { logStats } from "./cli-stats.ts";
import { type Config, toEngineOptions } from "./config.ts";
import type { ServedModel } from "./context.ts";
import { isLoopback } from "./doors.ts";
import { listenWhileLoading } from "./loading.ts";
import { SHUTDOWN_TIMES, type ShutdownTimes, shutDown } from "./shutdown.ts";
import type { TextService } from "./text-service.ts";

/** What `serve` takes from outside, so that tests can give their own. */
export interface ServeDeps {
  readonly createEngine: (options: EngineOptions) => Promise<CreatedEngine>;
  readonly openText: (assets: TextAssets) => TextService;
  readonly logger: Logger;
  /** Gets the banner where it is a terminal; a log gets the same facts otherwise. */
  readonly output: Output;
  readonly shutdownTimes?: ShutdownTimes;
}

export interface RunningServer {
  /** Without a slash at the end. */
  readonly url: string;
  /** Drains, then closes everything. */
  shutDown(): Promise<void>;
}

/**
 * Opens model and device, then serves. Meanwhile the port is held and answers that the server is loading.
 * @throws ModelFileError, EngineOptionsError, GpuError, or the system's error of listening (EADDRINUSE, EACCES, …)
 */
export async function serve(config: Config, deps: ServeDeps): Promise<RunningServer> {
  const { logger } = deps;
  // Before the model, which takes its time: a port that is taken is told at once.
  const loading = await listenWhileLoading(config.host, config.port);
  let engine: CreatedEngine | undefined;
  let text: TextService | undefined;
  let app: App | undefined;
  try {
    logger.info({ model: config.model, url: urlOf(config.host, loading.port) }, "loading the model");
    engine = await deps.createEngine(toEngineOptions(config));
    text = deps.openText(engine.model.text);
    const model = servedModel(config, engine);
    app = await buildApp({
      ...{ client: engine.client, model, logger, maxQueue: config.maxQueue, apiKeys: config.apiKey },
      ...(config.requestTimeout === undefined ? {} : { requestTimeout: config.requestTimeout }),
      text,
      doors: { host: config.host, allowedHosts: config.allowedHosts, allowedOrigins: config.allowedOrigins },
    });
    app.metrics.includeProcessMetrics();
    await loading.close();
    await app.server.listen({ host: config.host, port: loading.port, listenTextResolver: () => "listening" });
    return announce(config, deps, { engine, text, app, model });
  } catch (error) {
    await loading.close();
    await app?.server.close();
    await text?.close();
    await engine?.client.close();
    throw error;
  }
}

interface ServerParts {
  readonly engine: CreatedEngine;
  readonly text: TextService;
  readonly app: App;
  readonly model: ServedModel;
}

function announce(config: Config, deps: ServeDeps, { engine, text, app, model }: ServerParts): RunningServer {
  const { logger, output } = deps;
  const address = app.server.server.address();
  const port = typeof address === "object" && address !== null ? address.port : config.port;
  const url = urlOf(config.host, port);
  const facts: BannerFacts = {
    ...{ config, url, info: engine.client.info, modelName: model.names[0] },
    hasChat: engine.model.text.chatTemplate !== undefined,
  };
  if (output.isTTY) output.write(formatBanner(facts, output.hasColors?.() ?? false));
  else {
    if (facts.info.adapterKind === "software") logger.warn(SOFTWARE_WARNING);
    logger.info(bannerFields(facts), `ready at ${url}`);
  }
  warnIfOpen(config, logger);
  const stopStats = logStats(engine.client, logger);
  let ending: Promise<void> | undefined;
  const parts = {
    ...{ logger, admission: app.admission },
    closeServer: () => app.server.close(),
    dropConnections: () => app.server.server.closeAllConnections(),
    closeEngine: async () => {
      stopStats();
      await text.close();
      await engine.client.close();
    },
  };
  return {
    url,
    shutDown: () => {
      ending ??= shutDown(parts, deps.shutdownTimes ?? SHUTDOWN_TIMES);
      return ending;
    },
  };
}

function servedModel({ servedModelName }: Config, { model }: CreatedEngine): ServedModel {
  const [first = model.name, ...more] = servedModelName;
  return {
    names: [first, ...more],
    generationDefaults: model.generationDefaults,
    created: Math.floor(Date.now() / 1000),
  };
}

function warnIfOpen({ host, apiKey }: Config, logger: Logger): void {
  if (isLoopback(host) || apiKey.length > 0) return;
  logger.warn(`anyone who reaches ${host} can use this server: set --api-key or --api-key-file, or --host 127.0.0.1`);
}
