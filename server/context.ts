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
  readonly names: readonly [string, ...string[]];
  readonly generationDefaults: GenerationDefaults;
  /** Unix seconds. */
  readonly created: number;
}

/** What one request may ask for. */
export interface RequestLimits {
  /** Lowest priority value: with several keys no caller may put itself before the others. */
  readonly minPriority: number;
  /** A request is ended after so long, unless it asks for less. */
  readonly timeoutSeconds: number | undefined;
}

/** All that a route needs; made once by `buildApp` and handed down. */
export interface AppContext {
  readonly client: EngineClient;
  readonly health: EngineHealth;
  readonly model: ServedModel;
  readonly text: TextService;
  readonly admission: Admission;
  readonly metrics: Metrics;
  readonly sse: SseLimits;
  readonly limits: RequestLimits;
}
