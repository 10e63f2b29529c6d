import { isUtf8 } from "node:buffer";
import type { FastifyInstance } from "fastify";
import { ApiError } from "./errors.ts";

export const MAX_BODY_BYTES = 8 * 1024 * 1024;
const MAX_DEPTH = 64;

/** The server takes application/json and nothing else; any other type is Fastify's 415. */
export function useJsonBodies(app: FastifyInstance): void {
  app.removeAllContentTypeParsers();
  app.addContentTypeParser<Buffer>("application/json", { parseAs: "buffer" }, (_request, body, done) => {
    try {
      done(null, parseJsonBody(body));
    } catch (error) {
      done(error instanceof Error ? error : new Error(String(error)), undefined);
    }
  });
}

/**
 * Parses a body strictly: whole UTF-8, at most 64 levels, no key that reaches a prototype.
 * @throws ApiError invalid_json
 */
export function parseJsonBody(body: Buffer): unknown {
  if (body.length === 0) throw new ApiError("invalid_json", "the body is empty; send a JSON object");
  // Decoding would silently put U+FFFD in the place of bad bytes, and the prompt would not be the client's.
  if (!isUtf8(body)) throw new ApiError("invalid_json", "the body is not valid UTF-8");
  checkDepth(body);
  const text = body.toString("utf8");
  let value: unknown;
  try {
    value = JSON.parse(text);
  } catch (error) {
    const reason = error instanceof Error ? error.message : String(error);
    throw new ApiError("invalid_json", `the body is not valid JSON: ${reason}`);
  }
  // The walk is paid only by bodies that could hold such a key, written plainly or with escapes.
  if (/__proto__|\\u00[5-7]/i.test(text)) checkKeys(value);
  return value;
}

/** Counts brackets outside strings before anything recursive sees them. */
function checkDepth(body: Buffer): void {
  let depth = 0;
  let inString = false;
  for (let i = 0; i < body.length; i++) {
    const byte = body[i];
    if (inString) {
      if (byte === 0x5c) i++;
      else if (byte === 0x22) inString = false;
    } else if (byte === 0x22) inString = true;
    else if (byte === 0x7b || byte === 0x5b) {
      if (++depth > MAX_DEPTH) throw new ApiError("invalid_json", `the body nests deeper than ${MAX_DEPTH} levels`);
    } else if (byte === 0x7d || byte === 0x5d) depth--;
  }
}

function checkKeys(value: unknown): void {
  if (typeof value !== "object" || value === null) return;
  for (const [key, child] of Object.entries(value)) {
    if (key === "__proto__") throw new ApiError("invalid_json", 'the body has the forbidden key "__proto__"');
    checkKeys(child);
  }
}
