import { BlockManager } from "../../kvcache/block-manager.ts";
import { Scheduler, type SchedulerOptions } from "../../scheduler/scheduler.ts";

/** What is under test; replaced by parts with a seeded bug. */
export interface Parts {
  readonly createBlocks: (numBlocks: number, prefixSecret: Uint8Array | undefined) => BlockManager;
  readonly createScheduler: (options: SchedulerOptions) => Scheduler;
}

export const ORIGINAL_PARTS: Parts = {
  createBlocks: (numBlocks, prefixSecret) => new BlockManager(numBlocks, prefixSecret),
  createScheduler: (options) => new Scheduler(options),
};
