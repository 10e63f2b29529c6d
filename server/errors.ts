import type { EngineDeadError, EngineRequestError } from "../engine/errors.ts";

/** `type` of an error as OpenAI's clients know it. */
type ErrorType =
  | "invalid_request_error"
  | "permission_error"
  | "not_found_error"
  | "rate_limit_error"
  | "service_unavailable_error"
  | "server_error";

type ServerErrorCode =
  | "invalid_request"
  | "invalid_json"
  | "invalid_value"
  | "unsupported_parameter"
  | "template_error"
  | "invalid_api_key"
  | "forbidden_host"
  | "forbidden_origin"
  | "model_not_found"
  | "not_found"
  | "method_not_allowed"
  | "request_timeout"
  | "payload_too_large"
  | "unsupported_media_type"
  | "queue_full"
  | "headers_too_large"
  | "internal_error"
  | "engine_failed"
  | "loading"
  | "draining"
  | "deadline_exceeded";

export type ErrorCode = ServerErrorCode | EngineRequestError["code"] | EngineDeadError["code"];

/** Every code has its status here; the compiler refuses a code without a row. */
const TABLE = {
  invalid_request: { status: 400, type: "invalid_request_error" },
  invalid_json: { status: 400, type: "invalid_request_error" },
  invalid_value: { status: 400, type: "invalid_request_error" },
  unsupported_parameter: { status: 400, type: "invalid_request_error" },
  template_error: { status: 400, type: "invalid_request_error" },
  context_length_exceeded: { status: 400, type: "invalid_request_error" },
  invalid_token_id: { status: 400, type: "invalid_request_error" },
  invalid_sampling_params: { status: 400, type: "invalid_request_error" },
  invalid_priority: { status: 400, type: "invalid_request_error" },
  empty_prompt: { status: 400, type: "invalid_request_error" },
  invalid_api_key: { status: 401, type: "invalid_request_error" },
  forbidden_host: { status: 403, type: "permission_error" },
  forbidden_origin: { status: 403, type: "permission_error" },
  model_not_found: { status: 404, type: "not_found_error" },
  not_found: { status: 404, type: "not_found_error" },
  method_not_allowed: { status: 405, type: "invalid_request_error" },
  request_timeout: { status: 408, type: "invalid_request_error" },
  payload_too_large: { status: 413, type: "invalid_request_error" },
  unsupported_media_type: { status: 415, type: "invalid_request_error" },
  queue_full: { status: 429, type: "rate_limit_error" },
  headers_too_large: { status: 431, type: "invalid_request_error" },
  // Sequence ids are made here, so a duplicate is the server's own mistake.
  duplicate_id: { status: 500, type: "server_error" },
  internal_error: { status: 500, type: "server_error" },
  engine_failed: { status: 500, type: "server_error" },
  engine_dead: { status: 503, type: "service_unavailable_error" },
  loading: { status: 503, type: "service_unavailable_error" },
  draining: { status: 503, type: "service_unavailable_error" },
  deadline_exceeded: { status: 503, type: "service_unavailable_error" },
} as const satisfies Record<ErrorCode, { readonly status: number; readonly type: ErrorType }>;

/** What a client reads, in OpenAI's shape. */
export interface ErrorBody {
  readonly error: {
    readonly message: string;
    readonly type: ErrorType;
    readonly param: string | null;
    readonly code: ErrorCode;
  };
}

/** An answer to a request that is not a success. The message says what was wrong, with value and limit, and what to do. */
export class ApiError extends Error {
  override readonly name = "ApiError";
  /** Field of the request at fault. */
  readonly param: string | null;
  /** Headers of the answer: Retry-After, Allow, WWW-Authenticate. */
  readonly headers: Readonly<Record<string, string>>;

  constructor(
    readonly code: ErrorCode,
    message: string,
    details: { readonly param?: string; readonly headers?: Readonly<Record<string, string>> } = {},
  ) {
    super(message);
    this.param = details.param ?? null;
    this.headers = details.headers ?? {};
  }

  get status(): number {
    return TABLE[this.code].status;
  }

  toBody(): ErrorBody {
    const { code, message, param } = this;
    return { error: { message, type: TABLE[code].type, param, code } };
  }
}

/** The client went away: nobody is left to answer. Never sent, only told apart from failures. */
export class ClientClosedError extends Error {
  override readonly name = "ClientClosedError";
  constructor() {
    super("the client closed the connection");
  }
}
