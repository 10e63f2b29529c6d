import { EngineDeadError, EngineRequestError } from "../engine/errors.ts";
import { ApiError, type ErrorCode } from "./errors.ts";

/** Fastify's own refusals, in our words. */
const FRAMEWORK: Readonly<Record<string, readonly [ErrorCode, string]>> = {
  FST_ERR_CTP_INVALID_MEDIA_TYPE: ["unsupported_media_type", "the body must be sent as Content-Type: application/json"],
  FST_ERR_CTP_BODY_TOO_LARGE: ["payload_too_large", "the body is larger than 8 MiB; send less text at a time"],
  FST_ERR_CTP_EMPTY_JSON_BODY: ["invalid_json", "the body is empty; send a JSON object"],
  FST_ERR_CTP_INVALID_JSON_BODY: ["invalid_json", "the body is not valid JSON"],
  FST_ERR_CTP_INVALID_CONTENT_LENGTH: ["invalid_request", "the body's length differs from the Content-Length header"],
  FST_ERR_BAD_URL: ["invalid_request", "the URL is not valid: check its % escapes"],
  FST_ERR_MAX_PARAM_LENGTH: ["invalid_request", "a part of the URL's path is too long"],
};

/** Any thrown value as an answer. What is not known here is a bug: its message stays in the log. */
export function toApiError(error: unknown): ApiError {
  if (error instanceof ApiError) return error;
  if (error instanceof EngineRequestError) return new ApiError(error.code, error.message);
  if (error instanceof EngineDeadError) {
    return new ApiError(error.code, `the engine is not running (${error.message}); try again shortly`, {
      headers: { "retry-after": "5" },
    });
  }
  const { code, statusCode } = errorFields(error);
  const framework = code === undefined ? undefined : FRAMEWORK[code];
  if (framework) return new ApiError(framework[0], framework[1]);
  if (error instanceof SyntaxError && statusCode === 400) {
    return new ApiError("invalid_json", `the body is not valid JSON: ${error.message}`);
  }
  if (statusCode !== undefined && statusCode >= 400 && statusCode < 500) {
    return new ApiError("invalid_request", error instanceof Error ? error.message : "the request is not valid");
  }
  return new ApiError("internal_error", "an internal error occurred; the server's log has the details");
}

function errorFields(error: unknown): { readonly code?: string; readonly statusCode?: number } {
  if (typeof error !== "object" || error === null) return {};
  const code = "code" in error && typeof error.code === "string" ? { code: error.code } : {};
  const statusCode =
    "statusCode" in error && typeof error.statusCode === "number" ? { statusCode: error.statusCode } : {};
  return { ...code, ...statusCode };
}
