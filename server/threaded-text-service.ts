import { extname } from "node:path";
import type { TextAssets } from "../engine/model/types.ts";
import { ModelText } from "../engine/text/model-text.ts";
import { type ChatMessage, checkLength, LocalTextService, type TextService } from "./text-service.ts";
import { TextThread, type TextThreadSettings } from "./text-thread.ts";

/** The text of a server. From its source it has no thread: Node's threads do not load TypeScript through tsx. */
export function openText(assets: TextAssets): TextService {
  return extname(import.meta.filename) === ".ts"
    ? new LocalTextService(new ModelText(assets))
    : new ThreadedTextService(assets);
}

/**
 * Text whose slow parts, those that grow with what a client sends, run in a thread of their own: 2 MiB take seconds, in which the
 * server goes on answering everybody else.
 */
export class ThreadedTextService extends LocalTextService {
  readonly #thread: TextThread;

  /** @throws ModelFileError as `ModelText` does */
  constructor(assets: TextAssets, settings?: Partial<TextThreadSettings>) {
    super(new ModelText(assets));
    this.#thread = new TextThread(assets, settings);
  }

  override async encodePrompt(text: string, signal?: AbortSignal): Promise<readonly number[]> {
    checkLength(text.length, "prompt");
    return this.#thread.run({ method: "encodePrompt", text }, signal);
  }

  override async encodePrediction(text: string, signal?: AbortSignal): Promise<readonly number[]> {
    checkLength(text.length, "prediction");
    return this.#thread.run({ method: "encodePrediction", text }, signal);
  }

  override async encodeChat(messages: readonly ChatMessage[], signal?: AbortSignal): Promise<readonly number[]> {
    return this.#thread.run({ method: "encodeChat", messages }, signal);
  }

  override async tokensContaining(part: string, signal?: AbortSignal): Promise<readonly number[]> {
    return this.#thread.run({ method: "tokensContaining", text: part }, signal);
  }

  override close(): Promise<void> {
    return this.#thread.close();
  }
}
