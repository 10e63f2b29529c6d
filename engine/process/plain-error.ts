import { GpuError } from "../../kernels/index.ts";
import { EngineOptionsError, ModelFileError } from "../errors.ts";

/** An error of the start as data: structured clones keep neither class nor code. */
export type PlainError =
  | {
      readonly kind: "model_file";
      readonly code: ModelFileError["code"];
      readonly file: string;
      readonly message: string;
    }
  | { readonly kind: "options"; readonly message: string }
  | { readonly kind: "gpu"; readonly code: GpuError["code"]; readonly message: string }
  | { readonly kind: "unknown"; readonly message: string; readonly stack?: string };

export function toPlainError(error: unknown): PlainError {
  if (error instanceof ModelFileError) {
    const { code, file, message } = error;
    return { kind: "model_file", code, file, message: message.slice(`${file}: `.length) };
  }
  if (error instanceof EngineOptionsError) return { kind: "options", message: error.message };
  if (error instanceof GpuError) return { kind: "gpu", code: error.code, message: error.message };
  if (!(error instanceof Error)) return { kind: "unknown", message: String(error) };
  return { kind: "unknown", message: error.message, ...(error.stack === undefined ? {} : { stack: error.stack }) };
}

/** The same class, code and message again. */
export function fromPlainError(plain: PlainError): Error {
  switch (plain.kind) {
    case "model_file":
      return new ModelFileError(plain.code, plain.file, plain.message);
    case "options":
      return new EngineOptionsError(plain.message);
    case "gpu":
      return new GpuError(plain.code, plain.message);
    case "unknown": {
      const error = new Error(plain.message);
      if (plain.stack !== undefined) error.stack = plain.stack;
      return error;
    }
  }
}
