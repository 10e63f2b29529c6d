import type { FastifyInstance, FastifyReply, FastifyRequest } from "fastify";
import { ApiError } from "./errors.ts";

const LOOPBACK = ["localhost", "127.0.0.1", "[::1]"];

export interface DoorSettings {
  /** Address that the server listens on. */
  readonly host: string;
  /** More host names that clients may use in the Host header, in any case, without ports. */
  readonly allowedHosts: readonly string[];
  /** More origins ("https://app.example") whose pages may send requests. */
  readonly allowedOrigins: readonly string[];
}

export function isLoopback(host: string): boolean {
  return /^(localhost|::1|\[::1\]|127(\.\d{1,3}){3})$/i.test(host);
}

/**
 * Keeps web pages out. A page on evil.example can point its own name at 127.0.0.1 (DNS rebinding): its requests then
 * carry `Host: evil.example`. Any page can send a POST without being able to read the answer: it carries its Origin.
 * CORS is off but for origins that are allowed by name.
 */
export function useDoors(app: FastifyInstance, settings: DoorSettings): void {
  const isLocal = isLoopback(settings.host);
  const names = [...(isLocal ? [...LOOPBACK, settings.host] : []), ...settings.allowedHosts];
  const hosts = new Set(names.map((name) => bracketed(name).toLowerCase()));
  const origins = new Set(settings.allowedOrigins.map((origin) => origin.toLowerCase()));
  // On an outer address the names that clients use are not known here, so the list is enforced only if it was given.
  const checksHost = isLocal || settings.allowedHosts.length > 0;

  app.addHook("onRequest", async (request, reply) => {
    const { host, origin } = request.headers;
    if (host === undefined && request.raw.httpVersion !== "1.0") {
      throw new ApiError("invalid_request", "the request has no Host header; send the name or address of this server");
    }
    if (checksHost && host !== undefined && !hosts.has(hostName(host))) {
      const message = `host "${hostName(host)}" is not served here; allow it with --allowed-hosts`;
      throw new ApiError("forbidden_host", message);
    }
    if (origin === undefined) return;
    if (origins.has(origin.toLowerCase())) return invite(request, reply, origin);
    if (request.method === "GET" || request.method === "HEAD") return;
    const originHost = URL.canParse(origin) ? new URL(origin) : undefined;
    const isSamePlace = originHost !== undefined && (originHost.host === host || hosts.has(originHost.hostname));
    if (!isSamePlace) {
      const message = `requests from pages of "${origin}" are not allowed; allow them with --allowed-origins`;
      throw new ApiError("forbidden_origin", message);
    }
  });
}

/** CORS for an origin on the list: its pages may read answers, and a preflight is answered here, before keys are asked for. */
function invite(request: FastifyRequest, reply: FastifyReply, origin: string): FastifyReply | undefined {
  reply.headers({
    "access-control-allow-origin": origin,
    "access-control-expose-headers": "x-request-id, retry-after",
    vary: "Origin",
  });
  const wanted = request.headers["access-control-request-method"];
  if (request.method !== "OPTIONS" || wanted === undefined) return undefined;
  return reply
    .headers({
      "access-control-allow-methods": "GET, POST",
      "access-control-allow-headers":
        request.headers["access-control-request-headers"] ?? "authorization, content-type",
      "access-control-max-age": "600",
    })
    .code(204)
    .send();
}

/** "name:port" without the port; IPv6 keeps its brackets. */
function hostName(host: string): string {
  return host.replace(/:\d*$/, "").toLowerCase();
}

function bracketed(host: string): string {
  return host.includes(":") && !host.startsWith("[") ? `[${host}]` : host;
}
