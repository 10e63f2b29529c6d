import type { FastifyBaseLogger } from "fastify";
import type { z } from "zod";
import { ApiError } from "../errors.ts";
import { isNeutralField } from "./unsupported.ts";

/** Fields that change nothing here and are too common to be worth a line in the log. */
const IGNORED = new Set(["user", "metadata", "store", "service_tier", "parallel_tool_calls", "safety_identifier"]);
const MAX_TOLD = 16;
const reported = new Set<string>();

/**
 * Checks a request's body. Unknown fields are accepted and logged once by name.
 * @throws ApiError invalid_value | unsupported_parameter naming the field, its value and what is allowed
 */
export function parseBody<T extends z.ZodObject>(schema: T, body: unknown, log: FastifyBaseLogger): z.infer<T> {
  const result = schema.safeParse(body);
  if (!result.success) throw toInvalidValue(result.error, body);
  // Not from the result: it would take zod as long again to take a million unknown fields along.
  const fields = body as Readonly<Record<string, unknown>>;
  for (const name of Object.keys(fields)) {
    const value = fields[name];
    if (name in schema.shape || value === null) continue;
    if (isNeutralField(name, value, fields) || IGNORED.has(name) || reported.has(name) || reported.size > 256) continue;
    reported.add(name);
    log.info({ field: name.slice(0, 64) }, "a request has a field that is not known here; it is ignored");
  }
  return result.data;
}

/** The first issue, with what was sent. */
function toInvalidValue(error: z.ZodError, body: unknown): ApiError {
  const issue = deepest(error.issues[0]);
  if (issue === undefined) return new ApiError("invalid_value", "the request is not valid");
  const param = shorten(issue.path.map(String).join("."));
  if (param === "") return new ApiError("invalid_value", `the body must be a JSON object: ${issue.message}`);
  const value = issue.path.reduce<unknown>(
    (at, key) => (typeof at === "object" && at !== null ? (at as Record<PropertyKey, unknown>)[key] : undefined),
    body,
  );
  const got = value === undefined ? "it is missing" : `got ${told(value)}`;
  return new ApiError("invalid_value", `${param}: ${issue.message}; ${got}`, { param });
}

type Issue = z.core.$ZodIssue;

/** Of a union, the alternative that came furthest: its issue lies deepest in the body, or is not about the type. */
function deepest(issue: Issue | undefined, path: readonly PropertyKey[] = []): Issue | undefined {
  if (issue === undefined) return undefined;
  const here = { ...issue, path: [...path, ...issue.path] };
  if (issue.code !== "invalid_union") return here;
  const inner = issue.errors.flatMap((issues) => issues.slice(0, 1).map((first) => deepest(first, here.path) ?? here));
  const distance = ({ path, code }: Issue) => 2 * (path.length - here.path.length) + (code === "invalid_type" ? 0 : 1);
  const best = inner.sort((a, b) => distance(b) - distance(a))[0];
  return best !== undefined && distance(best) > 0 ? best : here;
}

/** A long list is not spelled out: a body has room for millions of elements. */
function told(value: unknown): string {
  if (Array.isArray(value) && value.length > MAX_TOLD) return `a list of ${value.length}`;
  return shorten(JSON.stringify(value));
}

function shorten(text: string): string {
  return text.length <= 80 ? text : `${text.slice(0, 80)}…`;
}
