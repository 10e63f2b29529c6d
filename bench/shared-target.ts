import { assembleEngine } from "../engine/create.ts";
import type { Engine } from "../engine/engine.ts";
import { ENGINE_DEFAULTS, type EngineOptions } from "../engine/engine-options.ts";
import { resolveModel } from "../engine/model/bundled.ts";
import { openModel } from "../engine/model/open.ts";
import type { OpenedModel } from "../engine/model/types.ts";
import { closeDrafters, openDrafters } from "../engine/open-drafters.ts";
import { type LlamaWeights, onDevice } from "../engine/runner/weights.ts";
import {
  type AdapterChoice,
  createGpuContext,
  type Gpu,
  type GpuContext,
  openGpu,
  siblingContext,
} from "../kernels/index.ts";

/**
 * Engines over the very same weights, on one device: they differ in nothing but their options. With weights of their own, engines that do
 * the same may differ for as long as they live by where their weights lie in memory (docs/benchmarks.md, The adaptive budget on two cores).
 */
export class SharedTarget {
  readonly #model: OpenedModel;
  readonly #maxModelLen: number;
  readonly #device: Gpu;
  readonly #context: GpuContext;
  readonly #weights: LlamaWeights;

  private constructor(model: OpenedModel, maxModelLen: number, device: Gpu) {
    this.#model = model;
    this.#maxModelLen = maxModelLen;
    this.#device = device;
    this.#context = createGpuContext(device);
    this.#weights = onDevice(this.#context, model.config, model.weights, maxModelLen);
  }

  /**
   * @param path name or path of a model
   * @param maxModelLen tokens that a sequence of any engine may hold
   * @throws ModelFileError, GpuError
   */
  static async open(
    path: string,
    maxModelLen: number,
    adapter: AdapterChoice = ENGINE_DEFAULTS.adapter,
  ): Promise<SharedTarget> {
    const model = openModel(resolveModel(path));
    try {
      return new SharedTarget(model, maxModelLen, await openGpu(adapter));
    } finally {
      model.weights.close();
    }
  }

  /** An engine with caches and buffers of its own. @throws ModelFileError, EngineOptionsError, GpuError */
  async createEngine(options: Omit<EngineOptions, "model" | "adapter" | "maxModelLen">): Promise<Engine> {
    const drafters = openDrafters(options.drafter ?? ENGINE_DEFAULTS.drafter, this.#model);
    try {
      return await assembleEngine(
        { ...options, maxModelLen: this.#maxModelLen },
        { ...this.#device, close: () => {} },
        siblingContext(this.#context),
        { ...this.#model, weights: this.#weights },
        drafters,
      );
    } finally {
      closeDrafters(drafters);
    }
  }

  /** Once every engine is closed. */
  close(): void {
    this.#device.close();
  }
}
