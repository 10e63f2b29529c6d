import { BlockManager } from "../../kvcache/block-manager.ts";
import type { SchedulerOutput } from "../../scheduler/output.ts";
import { Scheduler, type SchedulerOptions } from "../../scheduler/scheduler.ts";
import type { Sequence } from "../../scheduler/sequence.ts";

export interface StreamsConfig {
  readonly maxNumSeqs: number;
  readonly tokenBudget: number;
  readonly maxTreeNodes: number;
  /** Enough for all. */
  readonly numBlocks: number;
  readonly createScheduler?: (options: SchedulerOptions) => Scheduler;
}

export interface NewStream {
  readonly numPromptTokens: number;
  readonly maxTokens: number;
  readonly caller?: string;
}

/** A scheduler with blocks for all, over a model that accepts half of each draft's depth; says what each caller was served. */
export class Streams {
  readonly scheduler: Scheduler;
  /** Known tokens with final K/V, by caller. */
  readonly served = new Map<string, number>();
  readonly #live = new Set<Sequence>();
  #numAdded = 0;

  constructor({ createScheduler = (options) => new Scheduler(options), numBlocks, ...sizes }: StreamsConfig) {
    const blockManager = new BlockManager(numBlocks);
    this.scheduler = createScheduler({ ...sizes, blockManager, maxModelLen: 10_000 });
  }

  add({ numPromptTokens, maxTokens, caller = "" }: NewStream): Sequence {
    const promptTokenIds = new Array<number>(numPromptTokens).fill(1);
    const request = { id: `${caller}-${this.#numAdded++}`, promptTokenIds, maxTokens, stopTokenIds: [], caller };
    const sequence = this.scheduler.add(request);
    this.#live.add(sequence);
    return sequence;
  }

  /** Callers of whom someone waits. */
  backlogged(): ReadonlySet<string> {
    const waiting = [...this.#live].filter(({ status }) => status === "waiting");
    return new Set(waiting.map(({ id }) => id.split("-")[0] ?? ""));
  }

  step(): SchedulerOutput {
    const plan = this.scheduler.schedule();
    const before = plan.sequences.map(({ sequence }) => sequence.numComputedTokens);
    const results = plan.sequences.flatMap(({ sequence: { id }, needsSample, maxDraftDepth }) => {
      const numAccepted = Math.ceil(maxDraftDepth / 2);
      return needsSample ? { id, tokenIds: new Array<number>(numAccepted + 1).fill(2), numAccepted } : [];
    });
    this.scheduler.commit(plan, results);
    for (const [i, { sequence }] of plan.sequences.entries()) {
      const caller = sequence.id.split("-")[0] ?? "";
      const numNew = sequence.numComputedTokens - (before[i] ?? 0);
      this.served.set(caller, (this.served.get(caller) ?? 0) + numNew);
      if (sequence.status === "finished") this.#live.delete(sequence);
    }
    return plan;
  }
}
