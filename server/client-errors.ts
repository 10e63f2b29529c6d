import { STATUS_CODES } from "node:http";
import type { Socket } from "node:net";
import { ApiError } from "./errors.ts";

/**
 * Answers what Node's parser refused before there was a request, in the shape of every other error, and closes.
 * For Fastify's `clientErrorHandler`.
 */
export function answerClientError(error: Error & { readonly code?: string }, socket: Socket): void {
  if (error.code === "ECONNRESET" || socket.destroyed) return;
  if (socket.writable) socket.write(formatResponse(toRefusal(error)));
  socket.destroy();
}

function toRefusal({ code, message }: Error & { readonly code?: string }): ApiError {
  switch (code) {
    case "ERR_HTTP_REQUEST_TIMEOUT":
      return new ApiError("request_timeout", "the request took too long to arrive; send it again");
    case "HPE_HEADER_OVERFLOW":
      return new ApiError(
        "headers_too_large",
        "the request's headers are larger than 16 KiB; send fewer or shorter ones",
      );
    case "HPE_CHUNK_EXTENSIONS_OVERFLOW":
      return new ApiError("payload_too_large", "the body's chunk extensions are too large; leave them out");
    default:
      return new ApiError("invalid_request", `this is not valid HTTP (${message})`);
  }
}

function formatResponse(refusal: ApiError): string {
  const body = JSON.stringify(refusal.toBody());
  return [
    `HTTP/1.1 ${refusal.status} ${STATUS_CODES[refusal.status]}`,
    "content-type: application/json; charset=utf-8",
    `content-length: ${Buffer.byteLength(body)}`,
    "connection: close",
    "",
    body,
  ].join("\r\n");
}
