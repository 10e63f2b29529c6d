import { createHash } from "node:crypto";
import { readFileSync } from "node:fs";
import { extname, join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import type { FastifyInstance, FastifyReply, FastifyRequest } from "fastify";
import type { EngineClient } from "../../engine/client.ts";
import { DashboardFeed, type FeedSnapshot } from "../dashboard-feed.ts";
import { readLoad } from "../engine-health.ts";
import { ApiError } from "../errors.ts";
import { SSE_LIMITS, SseStream } from "../sse.ts";
import { VERSION } from "../version.ts";

export interface DashboardOptions {
  readonly client: EngineClient;
  /** One token's text for people to read. Left out where several keys share the server: a tree is a piece of someone's text. */
  readonly decodeToken?: (id: number) => string;
}

/** One event of `/dashboard/feed`. */
export interface FeedMessage extends FeedSnapshot {
  /** What is served and on what; only in a watcher's first message. */
  readonly info?: EngineClient["info"] & { readonly version: string; readonly showsTrees: boolean };
  /** Why the engine cannot serve; absent while it can. */
  readonly engineError?: string;
}

const FEED_INTERVAL_MS = 500;
const MAX_WATCHERS = 32;

/** Everything that is served beside the page; there is no route to any other file. */
const FILES = [
  "dashboard.css",
  "dashboard.js",
  "api.js",
  "charts.js",
  "chat.js",
  "feed.js",
  "format.js",
  "panels.js",
  "tip.js",
  "tree.js",
  "favicon.svg",
] as const;

const CONTENT_TYPES: Readonly<Record<string, string>> = {
  ".html": "text/html; charset=utf-8",
  ".css": "text/css; charset=utf-8",
  ".js": "text/javascript; charset=utf-8",
  ".svg": "image/svg+xml",
};

const PAGE_HEADERS = {
  "cache-control": "no-cache",
  "content-security-policy":
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; " +
    "base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
  "x-content-type-options": "nosniff",
  "x-frame-options": "DENY",
  "referrer-policy": "no-referrer",
};

/**
 * The dashboard: the page and its files under `/dashboard`, to which `/` leads, which hold no data and need no key, and
 * `GET /dashboard/feed`, server-sent events twice a second, which needs a key like the API does.
 */
export function registerDashboard(app: FastifyInstance, options: DashboardOptions): void {
  app.get("/dashboard", serveFile("index.html"));
  // Who opens the address that the server says it is ready at wants to see something.
  app.get("/", (_request, reply) => reply.redirect("dashboard"));
  // The page names its files relative to /dashboard, so that it also works under a proxy's path prefix.
  app.get("/dashboard/", (_request, reply) => reply.redirect("../dashboard"));
  for (const name of FILES) app.get(`/dashboard/${name}`, serveFile(name));
  registerFeed(app, options);
}

/** Reads the file once, now; the ETag is of its content. */
function serveFile(name: string): (request: FastifyRequest, reply: FastifyReply) => FastifyReply {
  const body = readFileSync(join(import.meta.dirname, "..", "dashboard", name));
  const etag = `"${createHash("sha256").update(body).digest("base64url")}"`;
  const contentType = CONTENT_TYPES[extname(name)] ?? "application/octet-stream";
  return (request, reply) => {
    reply.headers({ ...PAGE_HEADERS, etag });
    if (request.headers["if-none-match"] === etag) return reply.code(304).send();
    return reply.type(contentType).send(body);
  };
}

function registerFeed(app: FastifyInstance, { client, decodeToken }: DashboardOptions): void {
  const feed = new DashboardFeed(performance.now(), client.info.treeDepth, decodeToken);
  const stopListening = client.onStep((stats) => feed.record(stats, performance.now()));
  const streams = new Set<SseStream>();

  app.get("/dashboard/feed", { exposeHeadRoute: false }, async (_request, reply) => {
    if (streams.size >= MAX_WATCHERS) {
      const message = `${MAX_WATCHERS} dashboards are open, which is the limit; close one and reload`;
      throw new ApiError("queue_full", message, { headers: { "retry-after": "10" } });
    }
    reply.hijack();
    const { raw } = reply;
    const stream = new SseStream(raw, SSE_LIMITS);
    streams.add(stream);
    raw.once("close", () => streams.delete(stream));
    // Closing the connection with the stream lets the server shut down at once.
    stream.open({ ...reply.getHeaders(), connection: "close" });
    const next = feed.watch();
    let info: FeedMessage["info"] = { ...client.info, version: VERSION, showsTrees: decodeToken !== undefined };
    while (!raw.destroyed && !raw.writableEnded) {
      const { load, deadReason } = readLoad(client);
      const message: FeedMessage = {
        ...(info === undefined ? {} : { info }),
        ...(deadReason === undefined ? {} : { engineError: deadReason }),
        ...next(performance.now(), load),
      };
      info = undefined;
      await stream.send(message);
      await sleep(FEED_INTERVAL_MS, undefined, { ref: false });
    }
  });
  app.addHook("preClose", async () => {
    stopListening();
    for (const stream of streams) stream.end();
  });
}
