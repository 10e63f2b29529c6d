import { createHash, timingSafeEqual } from "node:crypto";
import type { FastifyInstance, FastifyRequest } from "fastify";
import { ApiError } from "./errors.ts";

/**
 * Routes open to everyone, by pattern: probes, and the dashboard's own files, which hold no data.
 * Everything else, unknown paths included, needs a key when there is one.
 */
const PUBLIC_ROUTES: ReadonlySet<string> = new Set(["/", "/health", "/ready", "/version", "/dashboard", "/dashboard/"]);
const PUBLIC_FILE = /^\/dashboard\/[\w./-]+\.(?:html|css|js|mjs|svg|ico|png|woff2)$/;

/** Requires `Authorization: Bearer KEY` with one of `keys`; without keys every route is open. */
export function useAuth(app: FastifyInstance, keys: readonly string[]): void {
  if (keys.length === 0) return;
  const digests = keys.map(digest);
  app.addHook("onRequest", async (request) => {
    if (isPublic(request)) return;
    const token = bearerToken(request.headers.authorization);
    if (token === undefined) throw unauthorized("no API key given; send it as Authorization: Bearer KEY");
    if (!matchesAny(digest(token), digests)) throw unauthorized("the API key is not valid");
  });
}

/** Tells callers apart that have keys of their own, without telling the keys; "" is who sent none. */
export function callerOf({ headers }: FastifyRequest): string {
  const token = bearerToken(headers.authorization);
  return token === undefined ? "" : digest(token).toString("hex").slice(0, 32);
}

function isPublic(request: FastifyRequest): boolean {
  const url = request.routeOptions.url;
  if (url === undefined) return false;
  const isRead = request.method === "GET" || request.method === "HEAD";
  return isRead && (PUBLIC_ROUTES.has(url) || PUBLIC_FILE.test(url));
}

function bearerToken(header: string | undefined): string | undefined {
  return /^Bearer +(\S+) *$/i.exec(header ?? "")?.[1];
}

/** Compares with every key, always: the time taken tells neither which key came close nor how close. */
function matchesAny(candidate: Buffer, digests: readonly Buffer[]): boolean {
  let isMatch = false;
  for (const known of digests) isMatch = timingSafeEqual(candidate, known) || isMatch;
  return isMatch;
}

function digest(key: string): Buffer {
  return createHash("sha256").update(key).digest();
}

function unauthorized(message: string): ApiError {
  return new ApiError("invalid_api_key", message, { headers: { "www-authenticate": "Bearer" } });
}
