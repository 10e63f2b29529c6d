/** A request that this engine can never serve. `code` is stable; the message names value, limit and way out. */
export class EngineRequestError extends Error {
  override readonly name = "EngineRequestError";
  constructor(
    readonly code:
      | "context_length_exceeded"
      | "invalid_token_id"
      | "invalid_sampling_params"
      | "invalid_priority"
      | "empty_prompt"
      | "duplicate_id",
    message: string,
  ) {
    super(message);
  }
}

/** The engine cannot go on: device lost, poisoned step, closed. `cause` is the error that ended it, where one did. */
export class EngineDeadError extends Error {
  override readonly name = "EngineDeadError";
  readonly code = "engine_dead";
}

/** A file of a model is missing, damaged or of a kind that is not supported. Names file, field and, where known, offset. */
export class ModelFileError extends Error {
  override readonly name = "ModelFileError";
  constructor(
    readonly code: "not_found" | "truncated" | "malformed" | "unsupported",
    readonly file: string,
    message: string,
  ) {
    super(`${file}: ${message}`);
  }
}

/** An option of the engine that this model or device cannot follow. The message names value, limit and way out. */
export class EngineOptionsError extends Error {
  override readonly name = "EngineOptionsError";
  readonly code = "invalid_option";
}

/** The model has no chat template, or the template refuses the messages or cannot be rendered. Fit for a client to read. */
export class ChatTemplateError extends Error {
  override readonly name = "ChatTemplateError";
  readonly code = "template_error";
}
