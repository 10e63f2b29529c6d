import { createEngine, type OpenedDevice } from "../engine/create.ts";
import type { CreatedEngine, EngineOptions } from "../engine/engine-options.ts";
import { type AdapterChoice, BufferPool, createGpuContext, openGpu } from "../kernels/index.ts";

/**
 * Engines on one device: what one of them has compiled the next ones find, which is most of what starting takes on a software
 * adapter. Each has weights, caches and buffers of its own. What an engine does to the device happens to all of them.
 */
export class SharedDevice {
  #opened: Promise<OpenedDevice> | undefined;

  /** As the function of that name. The first engine's choice of an adapter is everyone's. */
  readonly createEngine = (options: EngineOptions): Promise<CreatedEngine> =>
    createEngine(options, (adapter) => this.#open(adapter));

  /** Once every engine is closed. */
  async close(): Promise<void> {
    (await this.#opened)?.device.close();
  }

  async #open(adapter: AdapterChoice): Promise<OpenedDevice> {
    this.#opened ??= openGpu(adapter).then((device) => ({ device, context: createGpuContext(device) }));
    const { device, context } = await this.#opened;
    const pool = new BufferPool(device.device);
    return { context: { ...context, pool }, device: { ...device, close: () => pool.destroyAll() } };
  }
}
