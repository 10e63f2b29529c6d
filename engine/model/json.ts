import { isUtf8 } from "node:buffer";
import type { z } from "zod";
import { ModelFileError } from "../errors.ts";
import { ModelFile } from "./model-file.ts";

/** Configuration files are a few kB; tokenizer.json reaches some tens of MB. */
export const MAX_CONFIG_BYTES = 16 << 20;
export const MAX_TOKENIZER_BYTES = 128 << 20;
const MAX_DEPTH = 64;

/** Contents of a JSON file. @throws ModelFileError not_found, or malformed with the reason. */
export function readJson(path: string, maxBytes = MAX_CONFIG_BYTES): unknown {
  return parseJson(readText(path, maxBytes), path);
}

/** Contents of a UTF-8 file of at most `maxBytes`. */
export function readText(path: string, maxBytes = MAX_CONFIG_BYTES): string {
  const file = ModelFile.open(path);
  try {
    if (file.size > maxBytes) {
      throw new ModelFileError("malformed", path, `${file.size} bytes, the limit is ${maxBytes}`);
    }
    return decodeUtf8(file.read(0, file.size, "text"), path);
  } finally {
    file.close();
  }
}

/** `bytes` as text, a byte-order mark included. @throws ModelFileError malformed when it is not UTF-8. */
export function decodeUtf8(bytes: Uint8Array<ArrayBuffer>, path: string): string {
  if (!isUtf8(bytes)) throw new ModelFileError("malformed", path, "not UTF-8");
  return Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength).toString("utf8");
}

/** @throws ModelFileError malformed when `text` is not JSON, is nested too deep or repeats a key of its root object. */
export function parseJson(text: string, path: string): unknown {
  scan(text, path);
  try {
    return JSON.parse(text);
  } catch (error) {
    throw new ModelFileError("malformed", path, error instanceof Error ? error.message : "not JSON");
  }
}

/**
 * What JSON.parse leaves unchecked: depth, and a key given twice in the root object, of which it keeps the last in
 * silence. Text that is not JSON may pass; the parser proper refuses it.
 */
function scan(text: string, path: string): void {
  const rootIsObject = text.trimStart().startsWith("{");
  const keys = new Set<string>();
  let depth = 0;
  let keyNext = rootIsObject;
  for (let at = 0; at < text.length; at++) {
    switch (text[at]) {
      case '"': {
        const end = stringEnd(text, at);
        if (keyNext && depth === 1) {
          const key = text.slice(at, end);
          if (keys.has(key)) throw new ModelFileError("malformed", path, `key ${key.slice(0, 100)} is given twice`);
          keys.add(key);
          keyNext = false;
        }
        at = end - 1;
        break;
      }
      case ",":
        if (depth === 1) keyNext = rootIsObject;
        break;
      case "{":
      case "[":
        if (++depth > MAX_DEPTH) {
          throw new ModelFileError("malformed", path, `nested deeper than ${MAX_DEPTH} at character ${at}`);
        }
        break;
      case "}":
      case "]":
        depth--;
    }
  }
}

/** Index behind the closing quote of the string that opens at `start`. */
function stringEnd(text: string, start: number): number {
  for (let at = start + 1; at < text.length; at++) {
    const char = text.charCodeAt(at);
    if (char === 0x5c) at++;
    else if (char === 0x22) return at + 1;
  }
  return text.length;
}

export type JsonObject = Readonly<Record<string, unknown>>;

export function isJsonObject(value: unknown): value is JsonObject {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}

/** `value` checked against `schema`. @throws ModelFileError malformed naming the first field that does not fit. */
export function checkSchema<T>(schema: z.ZodType<T>, value: unknown, path: string): T {
  const result = schema.safeParse(value);
  if (result.success) return result.data;
  const [issue] = result.error.issues;
  const field = issue?.path.map(String).join(".") ?? "";
  throw new ModelFileError("malformed", path, `${field === "" ? "" : `${field}: `}${issue?.message ?? "does not fit"}`);
}
