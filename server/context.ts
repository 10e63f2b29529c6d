import type { EngineClient } from "../engine/client.ts";
import type { GenerationDefaults } from "../engine/model/types.ts";
import type { Admission } from "./admission.ts";
import type { EngineHealth } from "./engine-health.ts";
import type { Metrics } from "./metrics.ts";
import type { SseLimits } from "./sse.ts";
import type { TextService } from "./text-service.ts";

/** What the server says about the model it serves. */
export interface ServedModel {
  /** Names that requests may use; answers carry the first. */
  readonly name: string;
  readonly names: readonly string[];
  readonly generationDefaults: GenerationDefaults;
  /** Unix seconds. */
  readonly created: number;
}

/** Limits on what one request may ask for. */
export interface RequestLimits {
  /** Characters of all prompts or messages together. */
  readonly maxPromptChars: number;
  /** Choices times prompts. */
  readonly maxSequences: number;
  /** A request is ended after this long; 0 is never. */
  readonly deadlineMs: number;
}

/** All that a route needs; made once by `buildApp` and handed down. */
export interface AppContext {
  readonly client: EngineClient;
  readonly health: EngineHealth;
  readonly model: ServedModel;
  readonly text: TextService;
  readonly admission: Admission;
  readonly metrics: Metrics;
  readonly limits: RequestLimits;
  readonly sse: SseLimits;
}
