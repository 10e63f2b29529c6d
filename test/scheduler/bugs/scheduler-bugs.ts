import type { BlockManager } from "../../../kvcache/block-manager.ts";
import type { ChooseLimits, CommitResult, SchedulerOutput, StepResult, TreeLimits } from "../../../scheduler/output.ts";
import { Scheduler, type SchedulerOptions } from "../../../scheduler/scheduler.ts";
import type { Sequence, SequenceRequest } from "../../../scheduler/sequence.ts";
import type { Parts } from "../parts.ts";

/** For bugs that meddle with the cache. */
class SchedulerWithBlocks extends Scheduler {
  protected readonly blocks: BlockManager;
  constructor(options: SchedulerOptions) {
    super(options);
    this.blocks = options.blockManager;
  }
}

/** Frees the blocks of an aborted sequence while the step may still write them. */
class UnfencedScheduler extends SchedulerWithBlocks {
  override abort(id: string): boolean {
    const aborted = super.abort(id);
    if (this.blocks.has(id)) this.blocks.free(id);
    return aborted;
  }
}

/** Emits the whole accepted run, past the token that ended the sequence. */
class OverrunningScheduler extends Scheduler {
  override commit(output: SchedulerOutput, results: readonly StepResult[]): CommitResult {
    const { sequences } = super.commit(output, results);
    const runs = new Map(results.map((run) => [run.id, run.tokenIds]));
    return { sequences: sequences.map((one) => ({ ...one, emittedTokenIds: runs.get(one.id) ?? [] })) };
  }
}

/** Leaves the latest sequence out of every other plan's results: its tokens are sampled, then lost. */
class ForgetfulScheduler extends Scheduler {
  override commit(output: SchedulerOutput, results: readonly StepResult[]): CommitResult {
    const { sequences } = super.commit(output, results);
    return { sequences: output.stepId % 2 === 0 ? sequences : sequences.slice(0, -1) };
  }
}

/** Takes a failed step for one that computed its chunk. */
class CredulousScheduler extends Scheduler {
  override discard(output: SchedulerOutput): void {
    const results = output.sequences.map(({ sequence: { id } }) => ({ id, tokenIds: [0], numAccepted: 0 }));
    this.commit(output, results);
  }
}

/** Preempted sequences still count tokens as computed whose K/V is gone. */
class StaleScheduler extends Scheduler {
  readonly #added = new Map<string, Sequence>();
  override add(request: SequenceRequest): Sequence {
    const sequence = super.add(request);
    this.#added.set(request.id, sequence);
    return sequence;
  }
  override schedule(choose?: ChooseLimits): SchedulerOutput {
    const output = super.schedule(choose);
    for (const id of output.preemptedIds) {
      const sequence = this.#added.get(id);
      if (sequence !== undefined) Object.assign(sequence, { numComputedTokens: sequence.numTokens - 1 });
    }
    return output;
  }
}

/** Gives blocks back as if no later step were in flight. */
class HastyScheduler extends SchedulerWithBlocks {
  override commit(output: SchedulerOutput, results: readonly StepResult[]): CommitResult {
    const committed = super.commit(output, results);
    for (const { sequence } of output.sequences) {
      if (sequence.status === "running") this.blocks.trim(sequence.id, sequence.numTokens);
    }
    return committed;
  }
}

/** Gives up ended sequences while later steps that hold them are in flight. */
class ImpatientScheduler extends SchedulerWithBlocks {
  override commit(output: SchedulerOutput, results: readonly StepResult[]): CommitResult {
    const committed = super.commit(output, results);
    for (const { id, finishReason } of committed.sequences) {
      if (finishReason !== undefined && this.blocks.has(id)) this.blocks.free(id);
    }
    return committed;
  }
}

/** Takes it that steps in flight emit one token each. */
class OptimisticScheduler extends Scheduler {
  override scheduleAhead(
    choose: (goingOn: readonly Sequence[]) => TreeLimits | undefined,
  ): SchedulerOutput | undefined {
    let limits: TreeLimits | undefined;
    const output = super.scheduleAhead((goingOn) => {
      limits = choose(goingOn);
      return limits && { ...limits, maxDraftDepth: 0 };
    });
    if (output === undefined) return undefined;
    for (const scheduled of output.sequences) Object.assign(scheduled, limits);
    return output;
  }
}

/** The most important one gives way, and comes in last. */
class InvertedScheduler extends Scheduler {
  override add(request: SequenceRequest): Sequence {
    return super.add({ ...request, priority: -(request.priority ?? 0) });
  }
}

/** Of one priority, who came first gives way. */
class RudeScheduler extends Scheduler {
  override add(request: SequenceRequest): Sequence {
    const sequence = super.add(request);
    return Object.assign(sequence, { arrival: 1e6 - sequence.arrival });
  }
}

class OverspendingScheduler extends Scheduler {
  constructor(options: SchedulerOptions) {
    super({ ...options, tokenBudget: options.tokenBudget + 1 });
  }
}

/** Gives lookahead blocks back before the step has used them. */
class OverreachingScheduler extends SchedulerWithBlocks {
  override schedule(choose?: ChooseLimits): SchedulerOutput {
    const output = super.schedule(choose);
    for (const { sequence, rootPosition } of output.sequences) this.blocks.trim(sequence.id, rootPosition + 1);
    return output;
  }
}

/** Knows of no deadlines. */
class TimelessScheduler extends Scheduler {
  override add({ deadlineMs: _, ...request }: SequenceRequest): Sequence {
    return super.add(request);
  }
}

/** Keeps deadlines a step too late. */
class LateScheduler extends Scheduler {
  override expire(nowMs: number): readonly Sequence[] {
    return super.expire(nowMs - 1);
  }
}

/** Frees the blocks of a sequence at its deadline, while the step may still write them. */
class ImpetuousScheduler extends SchedulerWithBlocks {
  override expire(nowMs: number): readonly Sequence[] {
    const expired = super.expire(nowMs);
    for (const { id } of expired) if (this.blocks.has(id)) this.blocks.free(id);
    return expired;
  }
}

const scheduler = (Buggy: new (options: SchedulerOptions) => Scheduler): Partial<Parts> => ({
  createScheduler: (options) => new Buggy(options),
});

export const SCHEDULER_BUGS: Readonly<Record<string, Partial<Parts>>> = {
  "computed tokens are stale after a preemption": scheduler(StaleScheduler),
  "the budget of rows is overrun": scheduler(OverspendingScheduler),
  "lookahead slots lie beyond the table": scheduler(OverreachingScheduler),
  "blocks are trimmed that a later step may write": scheduler(HastyScheduler),
  "blocks are freed that a later step may write": scheduler(ImpatientScheduler),
  "steps ahead have room for one token a step": scheduler(OptimisticScheduler),
  "blocks are freed before the step ends": scheduler(UnfencedScheduler),
  "tokens are emitted after the end": scheduler(OverrunningScheduler),
  "sampled tokens are lost": scheduler(ForgetfulScheduler),
  "important sequences give way": scheduler(InvertedScheduler),
  "who came first gives way": scheduler(RudeScheduler),
  "a failed step counts": scheduler(CredulousScheduler),
  "deadlines are forgotten": scheduler(TimelessScheduler),
  "deadlines are kept too late": scheduler(LateScheduler),
  "a deadline frees blocks before the step ends": scheduler(ImpetuousScheduler),
};
