import { createHash } from "node:crypto";
import { readFileSync } from "node:fs";
import type { ServerResponse } from "node:http";
import { extname, join } from "node:path";
import type { FastifyInstance, FastifyReply, FastifyRequest } from "fastify";
import type { EngineClient } from "../../engine/client.ts";
import { DashboardFeed, FEED_START } from "../dashboard-feed.ts";

export interface DashboardOptions {
  readonly client: EngineClient;
  /** A token's text for people to read; U+FFFD where it is not whole UTF-8. */
  readonly decodeToken: (id: number) => string;
  readonly version: string;
}

const FEED_INTERVAL_MS = 500;
const MAX_WATCHERS = 32;
/** A watcher that takes nothing for this long is dropped. */
const STALLED_MS = 30_000;

/** Everything that is served; a path outside this list does not exist. */
const FILES = [
  "index.html",
  "dashboard.css",
  "dashboard.js",
  "api.js",
  "charts.js",
  "chat.js",
  "feed.js",
  "format.js",
  "panels.js",
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

interface Asset {
  readonly body: Buffer;
  readonly contentType: string;
  readonly etag: string;
}

const loadAsset = (name: string): Asset => {
  const body = readFileSync(join(import.meta.dirname, "..", "dashboard", name));
  const digest = createHash("sha256").update(body).digest("base64url").slice(0, 22);
  return { body, contentType: CONTENT_TYPES[extname(name)] ?? "application/octet-stream", etag: `"${digest}"` };
};

function sendAsset(request: FastifyRequest, reply: FastifyReply, asset: Asset): FastifyReply {
  reply.headers({ ...PAGE_HEADERS, etag: asset.etag });
  if (request.headers["if-none-match"] === asset.etag) return reply.code(304).send();
  return reply.type(asset.contentType).send(asset.body);
}

/**
 * The dashboard: its page and files under `/dashboard`, which hold no data and need no key, and
 * `GET /dashboard/feed`, a stream of snapshots twice a second, which the caller guards like the API.
 */
export async function dashboardRoutes(app: FastifyInstance, options: DashboardOptions): Promise<void> {
  const assets: ReadonlyMap<string, Asset> = new Map(FILES.map((name) => [name, loadAsset(name)]));
  const sendFile = (request: FastifyRequest, reply: FastifyReply, name: string): FastifyReply | undefined => {
    const asset = assets.get(name);
    if (asset !== undefined) return sendAsset(request, reply, asset);
    reply.callNotFound();
    return undefined;
  };

  // The page names its files relative to /dashboard, so that it also works behind a proxy's path prefix.
  app.get("/dashboard", (request, reply) =>
    request.url.split("?")[0]?.endsWith("/") ? reply.redirect("../dashboard") : sendFile(request, reply, "index.html"),
  );
  app.get<{ Params: { "*": string } }>("/dashboard/*", (request, reply) => {
    const name = request.params["*"];
    return name === "" ? reply.redirect("../dashboard") : sendFile(request, reply, name);
  });

  const watchers = watchSteps(options);
  app.get("/dashboard/feed", { exposeHeadRoute: false }, (_request, reply) => {
    if (watchers.isFull()) {
      const message = `${MAX_WATCHERS} dashboards are open, which is the limit; close one and reload`;
      return reply
        .code(503)
        .header("retry-after", "10")
        .send({ error: { message, type: "server_error", param: null, code: "too_many_watchers" } });
    }
    reply.hijack();
    reply.raw.writeHead(200, {
      ...reply.getHeaders(),
      "content-type": "text/event-stream; charset=utf-8",
      "cache-control": "no-store",
      "x-accel-buffering": "no",
      connection: "close", // so that ending the stream ends the connection, and the server can close at once
    });
    watchers.add(reply.raw);
    return reply;
  });
  app.addHook("preClose", async () => watchers.close());
}

/** Streams the feed to any number of watchers with one timer, which runs only while there is a watcher. */
function watchSteps({ client, decodeToken, version }: DashboardOptions) {
  const feed = new DashboardFeed({ startMs: performance.now(), decodeToken });
  const stopListening = client.onStep((stats) => feed.record(stats, performance.now()));
  const watchers = new Map<ServerResponse, { cursor: typeof FEED_START; lastWriteMs: number }>();
  let timer: NodeJS.Timeout | undefined;

  const send = (raw: ServerResponse, nowMs: number): void => {
    const watcher = watchers.get(raw);
    if (watcher === undefined) return;
    if (raw.writableNeedDrain) {
      if (nowMs - watcher.lastWriteMs > STALLED_MS) raw.destroy();
      return;
    }
    const first = watcher.cursor === FEED_START;
    const snapshot = feed.snapshot(nowMs, client.load(), watcher.cursor);
    watcher.cursor = snapshot.cursor;
    watcher.lastWriteMs = nowMs;
    raw.write(`data: ${JSON.stringify(first ? { info: { ...client.info, version }, ...snapshot } : snapshot)}\n\n`);
  };
  const remove = (raw: ServerResponse): void => {
    watchers.delete(raw);
    if (watchers.size > 0) return;
    clearInterval(timer);
    timer = undefined;
  };

  return {
    isFull: (): boolean => watchers.size >= MAX_WATCHERS,
    add(raw: ServerResponse): void {
      if (raw.destroyed) return;
      const nowMs = performance.now();
      watchers.set(raw, { cursor: FEED_START, lastWriteMs: nowMs });
      raw.on("close", () => remove(raw));
      raw.on("error", () => remove(raw));
      send(raw, nowMs);
      timer ??= setInterval(() => {
        const tickMs = performance.now();
        for (const watcher of watchers.keys()) send(watcher, tickMs);
      }, FEED_INTERVAL_MS).unref();
    },
    close(): void {
      stopListening();
      for (const raw of watchers.keys()) {
        if (raw.writableNeedDrain) raw.destroy();
        else raw.end();
        remove(raw);
      }
    },
  };
}
