import type { BlockManager } from "../../kvcache/block-manager.ts";
import { numBlocksFor } from "../../kvcache/ids.ts";
import { numTreeSlots, type ScheduledSequence, type SchedulerOutput } from "../../scheduler/output.ts";
import type { Scheduler } from "../../scheduler/scheduler.ts";
import type { Sequence } from "../../scheduler/sequence.ts";

/** @throws Error with `message` where `condition` is false. Properties call it too often for an assertion library. */
export function expect(condition: boolean, message: () => string): void {
  if (!condition) throw new Error(message());
}

/** What a plan is of. */
export interface Planned {
  readonly blocks: BlockManager;
  readonly scheduler: Scheduler;
  /** Sequences that have not ended. */
  readonly live: readonly Sequence[];
  readonly maxTreeNodes: number;
  readonly tokenBudget: number;
}

/**
 * @param uniform trees of one size were asked for
 * @returns whether they have one, and go past the end of a sequence
 * @throws Error naming a rule of plans that this one breaks
 */
export function checkPlan(plan: SchedulerOutput, planned: Planned, uniform: boolean): boolean {
  const { live, tokenBudget } = planned;
  const scheduledIds = new Set(plan.sequences.map(({ sequence }) => sequence.id));
  expect(scheduledIds.size === plan.sequences.length, () => "a sequence is scheduled twice");
  expect(live.length === 0 || scheduledIds.size > 0, () => "there is work, and no one is served");
  const numRows = plan.sequences.reduce(
    (sum, { numTokens, numLookaheadNodes }) => sum + numTokens + numLookaheadNodes,
    0,
  );
  expect(numRows === plan.numTokens + plan.numLookaheadNodes, () => "the plan's sums are wrong");
  expect(numRows <= tokenBudget, () => `${numRows} rows, budget ${tokenBudget}`);
  const decodes = live.filter(
    ({ status, numComputedTokens, numTokens }) => status === "running" && numComputedTokens === numTokens - 1,
  );
  for (const { id } of decodes) expect(scheduledIds.has(id), () => `decode ${id} starves`);
  const numPromptRows = plan.numTokens - decodes.length;
  expect(
    decodes.length === 0 || numPromptRows <= Math.ceil(tokenBudget / 2),
    () => `${numPromptRows} rows of prompts beside ${decodes.length} decodes, budget ${tokenBudget}`,
  );
  const numRowsEach = Math.floor(tokenBudget / scheduledIds.size);
  const size = Math.min(plan.limits.numLookaheadNodes, numRowsEach - 1);
  const isUniform =
    uniform && size > 0 && plan.sequences.every((one) => one.numTokens === 1 && one.numLookaheadNodes === size);
  for (const scheduled of plan.sequences) checkScheduled(scheduled, plan, planned, isUniform);
  return plan.sequences.some(({ sequence, maxDraftDepth }) => endsBefore(sequence, maxDraftDepth));
}

function endsBefore({ numTokens, maxNumTokens }: Sequence, depth: number): boolean {
  return numTokens + depth + 1 > maxNumTokens;
}

function checkScheduled(
  scheduled: ScheduledSequence,
  { limits }: SchedulerOutput,
  planned: Planned,
  isUniform: boolean,
): void {
  const { sequence, startPosition, numTokens, rootPosition, numLookaheadNodes, maxDraftDepth } = scheduled;
  const { id } = sequence;
  const numSlots = numTreeSlots(scheduled);
  const fits = isUniform
    ? sequence.numTokens + maxDraftDepth + 1 <= planned.scheduler.maxSequenceLen
    : !endsBefore(sequence, maxDraftDepth);
  expect(startPosition === sequence.numComputedTokens, () => `${id}: tokens are skipped or computed twice`);
  expect(planned.blocks.numSlots(id) > rootPosition + numSlots, () => `${id}: lookahead slots lie beyond the table`);
  expect(
    numTokens >= 1 && numLookaheadNodes <= numSlots && numSlots < planned.maxTreeNodes,
    () => `${id}: rows out of range`,
  );
  expect(fits && maxDraftDepth <= numSlots, () => `${id}: draft depth ${maxDraftDepth} passes the end`);
  expect(
    numLookaheadNodes <= limits.numLookaheadNodes && maxDraftDepth <= limits.maxDraftDepth,
    () => `${id}: more drafts than allowed`,
  );
  checkTable(id, planned);
}

/**
 * The same for a plan that was made before the steps ahead of it have ended.
 * @param before plans of those steps
 * @returns how many that run it leaves out: those that end by their length before it
 */
export function checkPlanAhead(plan: SchedulerOutput, before: readonly SchedulerOutput[], planned: Planned): number {
  const numRows = plan.sequences.length + plan.numLookaheadNodes;
  expect(numRows <= planned.tokenBudget, () => `${numRows} rows, budget ${planned.tokenBudget}`);
  expect(plan.admitted.length === 0 && plan.preemptedIds.length === 0, () => "the batch changed under steps in flight");
  const isPart = (sequence: Sequence, { sequences }: SchedulerOutput) =>
    sequences.some((scheduled) => scheduled.sequence === sequence && scheduled.needsSample);
  const running = planned.live.filter(({ status }) => status === "running");
  for (const sequence of running) {
    const isOver = sequence.numTokens + before.filter((one) => isPart(sequence, one)).length >= sequence.maxNumTokens;
    expect(isPart(sequence, plan) !== isOver, () => `${sequence.id} goes on: ${!isOver}, planned: ${isOver}`);
    if (!isOver) checkTable(sequence.id, planned);
  }
  for (const scheduled of plan.sequences) {
    const { sequence, numLookaheadNodes, maxDraftDepth } = scheduled;
    expect(sequence.status === "running", () => `${sequence.id} goes on, but is ${sequence.status}`);
    const numSlots = numTreeSlots(scheduled);
    expect(
      numLookaheadNodes <= numSlots && numSlots < planned.maxTreeNodes && maxDraftDepth <= numSlots,
      () => `${sequence.id}: ${numLookaheadNodes} nodes to depth ${maxDraftDepth} in ${numSlots} slots`,
    );
  }
  return running.length - plan.sequences.length;
}

/** A table holds a sequence of full length with its lookahead slots at most. */
function checkTable(id: string, { blocks, scheduler, maxTreeNodes }: Planned): void {
  const longest = numBlocksFor(scheduler.maxSequenceLen + maxTreeNodes - 1);
  expect(blocks.blockTable(id).length <= longest, () => `${id}: table too long`);
}
