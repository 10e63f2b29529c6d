import { type App, buildApp } from "../../server/app.ts";
import type { TextOutput, TextService } from "../../server/text-service.ts";
import { TREE_ENGINE_INFO, TreeEngine, wordOf } from "./tree-engine.ts";

const text: TextService = {
  endTokenIds: [],
  encodePrompt: async () => [0],
  encodePrediction: async () => [],
  encodeChat: async (messages) => messages.map(() => 0),
  createOutput: wordOutput,
  decodeToken: wordOf,
  tokenBytes: (id) => new TextEncoder().encode(wordOf(id)),
  tokensContaining: async () => [],
  close: async () => {},
};

function wordOutput(): TextOutput {
  const join = (pieces: readonly { readonly text: string; readonly accepted: boolean }[]) => ({
    ...{ text: pieces.map((piece) => piece.text).join(""), pieces },
    ...{ numTokens: pieces.length, stopped: false, tokenStarts: pieces.map(() => 0) },
  });
  return {
    push: (ids, numAccepted) => join(ids.map((id, i) => ({ text: wordOf(id), accepted: i < numAccepted }))),
    flush: () => join([]),
  };
}

/** The server's app over an engine that answers everything in steps of `stepMs`, with a draft tree each. */
export function buildTreeServer(options: { readonly stepMs: number; readonly keys?: readonly string[] }): Promise<App> {
  return buildApp({
    client: new TreeEngine(options.stepMs),
    model: { names: [TREE_ENGINE_INFO.modelName], generationDefaults: {}, created: 1 },
    text,
    apiKeys: options.keys ?? [],
    doors: { host: "127.0.0.1", allowedHosts: [], allowedOrigins: [] },
    maxQueue: 100,
  });
}
