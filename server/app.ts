import { randomUUID } from "node:crypto";
import fastify, { type FastifyBaseLogger, type FastifyInstance, type FastifyReply, LogController } from "fastify";
import type { EngineClient } from "../engine/client.ts";
import { Admission } from "./admission.ts";
import { useAuth } from "./auth.ts";
import { answerClientError } from "./client-errors.ts";
import { useConnections } from "./connection.ts";
import type { AppContext, ServedModel } from "./context.ts";
import { type DoorSettings, useDoors } from "./doors.ts";
import { EngineHealth } from "./engine-health.ts";
import { toApiError } from "./error-mapping.ts";
import { ApiError, ClientClosedError } from "./errors.ts";
import { MAX_BODY_BYTES, useJsonBodies } from "./json-body.ts";
import { Metrics } from "./metrics.ts";
import { registerChat } from "./routes/chat.ts";
import { registerCompletions } from "./routes/completions.ts";
import { registerDashboard } from "./routes/dashboard.ts";
import { registerModels } from "./routes/models.ts";
import { registerOperations } from "./routes/operations.ts";
import { SSE_LIMITS, type SseLimits } from "./sse.ts";
import type { TextService } from "./text-service.ts";

export interface AppOptions {
  readonly client: EngineClient;
  readonly model: ServedModel;
  readonly text: TextService;
  readonly apiKeys: readonly string[];
  readonly doors: DoorSettings;
  /** Sequences that may wait beyond those that run. */
  readonly maxQueue: number;
  /** Requests are ended after so many seconds. */
  readonly requestTimeout?: number;
  readonly sse?: SseLimits;
  readonly connections?: ConnectionLimits;
  readonly logger?: FastifyBaseLogger;
}

/** The HTTP face of an engine, not listening yet, and the door that is closed to shut down. */
export interface App {
  readonly server: FastifyInstance;
  readonly admission: Admission;
  readonly metrics: Metrics;
}

export interface ConnectionLimits {
  /** Headers and body of a request have this long to arrive, and up to a check more. */
  readonly requestMs: number;
  /** Between two checks of that. */
  readonly checkMs: number;
  /** A connection without a request is closed after this long. */
  readonly idleMs: number;
  /** Connections beside those of all requests that may run and wait; one more is closed as it comes. */
  readonly spare: number;
}

const CONNECTION_LIMITS: ConnectionLimits = { requestMs: 30_000, checkMs: 5_000, idleMs: 72_000, spare: 1_000 };
const MAX_HEADER_BYTES = 16 * 1024;
/** Of the routes here. */
const METHODS = ["GET", "HEAD", "POST"] as const;

export async function buildApp(options: AppOptions): Promise<App> {
  const { client, model, text, connections = CONNECTION_LIMITS } = options;
  const server: FastifyInstance = fastify({
    ...(options.logger ? { loggerInstance: options.logger } : {}),
    ...{ requestTimeout: connections.requestMs, keepAliveTimeout: connections.idleMs, connectionTimeout: 0 },
    bodyLimit: MAX_BODY_BYTES,
    logController: new LogController({ disableRequestLogging: true }),
    genReqId: () => randomUUID(),
    routerOptions: { ignoreDuplicateSlashes: true },
    // A request without Host is refused with the other bad ones (doors.ts), in their shape.
    http: {
      ...{ maxHeaderSize: MAX_HEADER_BYTES, requireHostHeader: false },
      connectionsCheckingInterval: connections.checkMs,
      // Node swaps the two where the headers' time is the longer: bodies would have its default, a minute.
      headersTimeout: connections.requestMs,
    },
    clientErrorHandler: answerClientError,
    frameworkErrors: (error, request, reply) => {
      // Hooks do not run for a URL that no router can read.
      reply.header("x-request-id", request.id);
      sendRefusal(error, reply as unknown as FastifyReply);
    },
  });
  server.server.maxConnections = connections.spare + client.info.maxNumSeqs + options.maxQueue;
  const isShared = options.apiKeys.length > 1;
  const context: AppContext = {
    ...{ client, model, text, sse: options.sse ?? SSE_LIMITS },
    health: new EngineHealth(client),
    admission: new Admission({ maxNumSeqs: client.info.maxNumSeqs, maxQueue: options.maxQueue, isShared }),
    metrics: new Metrics(client, model.names[0]),
    limits: {
      minPriority: isShared ? 0 : Number.NEGATIVE_INFINITY,
      timeoutSeconds: options.requestTimeout,
    },
  };
  useErrors(server);
  useConnections(server);
  useLog(server);
  useDoors(server, options.doors);
  useAuth(server, options.apiKeys);
  useJsonBodies(server);
  registerCompletions(server, context);
  registerChat(server, context);
  registerModels(server, context);
  registerOperations(server, context);
  registerDashboard(server, { client, ...(isShared ? {} : { decodeToken: (id: number) => text.decodeToken(id) }) });
  return { server, admission: context.admission, metrics: context.metrics };
}

/** Every refusal has the one shape. */
function useErrors(server: FastifyInstance): void {
  server.setErrorHandler((error, request, reply) => {
    if (error instanceof ClientClosedError) return reply.hijack();
    if (toApiError(error).status >= 500) request.log.error({ err: error }, "a request failed");
    return sendRefusal(error, reply);
  });
  server.setNotFoundHandler(({ method, url }) => {
    const path = url.split("?", 1)[0] ?? url;
    const allowed = METHODS.filter((known) => server.findRoute({ method: known, url: path }) !== null);
    if (allowed.length === 0) throw new ApiError("not_found", `there is no ${path.slice(0, 200)} here`);
    const message = `${path} does not take ${method}; use ${allowed.join(" or ")}`;
    throw new ApiError("method_not_allowed", message, { headers: { allow: allowed.join(", ") } });
  });
}

function sendRefusal(error: unknown, reply: FastifyReply): FastifyReply {
  const refusal = toApiError(error);
  return reply.code(refusal.status).headers(refusal.headers).send(refusal.toBody());
}

/** One line a request: route and figures, never what was said. */
function useLog(server: FastifyInstance): void {
  server.addHook("onRequest", async (request, reply) => {
    reply.header("x-request-id", request.id);
  });
  server.addHook("onResponse", async (request, reply) => {
    const { url: route = "unknown" } = request.routeOptions;
    const level = route.startsWith("/v1/") ? "info" : "debug";
    const ms = Math.round(reply.elapsedTime);
    request.log[level]({ method: request.method, route, status: reply.statusCode, ms }, "request");
  });
}
