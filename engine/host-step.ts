import { isPlain, type SchedulerOutput } from "../scheduler/output.ts";
import { processorOf } from "./runner/logits-processor.ts";
import type { ModelRunner, PassTimes } from "./runner/model-runner.ts";
import type { TreePolicy } from "./speculative/budget/tree-policy.ts";
import { rootOnly } from "./speculative/draft-tree.ts";
import type { Proposer } from "./speculative/proposer.ts";
import { type PlannedSequence, type SequenceOfStep, toBatch, type VerifiedSequence, verify } from "./step.ts";

interface HostStepParts {
  readonly runner: ModelRunner;
  readonly proposer: Proposer;
  readonly policy: TreePolicy;
}

/** What a step found, and where its time went as far as it is known. */
export interface Verification {
  readonly sequences: readonly VerifiedSequence[];
  readonly draftMs: number;
  readonly pass?: PassTimes;
}

/** A step of any kind, drafted, batched and walked by the host. */
export async function decodeOnHost(
  parts: HostStepParts,
  output: SchedulerOutput,
  sequences: readonly SequenceOfStep[],
): Promise<Verification> {
  const startMs = performance.now();
  const plan = isPlain(output.limits) ? sequences.map(plainly) : await propose(parts, output, sequences);
  const draftMs = performance.now() - startMs;
  return { ...(await verifyPlan(parts, plan)), draftMs };
}

/**
 * A plain step after which the drafter has seen all that the target has: it computes that once the target has computed the step, as
 * some drafters read the target's features.
 */
export async function catchUpOnHost(parts: HostStepParts, sequences: readonly SequenceOfStep[]): Promise<Verification> {
  const verification = await verifyPlan(parts, sequences.map(plainly));
  const startMs = performance.now();
  const requests = sequences.map((planned) => {
    const { startPosition, numTokens } = planned.scheduled;
    return toRequest(planned, startPosition + numTokens);
  });
  await parts.proposer.propose(requests);
  return { ...verification, draftMs: performance.now() - startMs };
}

async function verifyPlan({ runner }: HostStepParts, plan: readonly PlannedSequence[]) {
  const sequences = verify(plan, await runner.run(plan.map(toBatch)));
  runner.kv.commit(sequences.flatMap(({ moves, failed }) => (failed ? [] : moves)));
  const pass = runner.profile;
  return { sequences, ...(pass ? { pass } : {}) };
}

function plainly(planned: SequenceOfStep): PlannedSequence {
  const tree = rootOnly(planned.sequence.tokenIds[planned.scheduled.rootPosition] ?? 0);
  return { ...planned, tree, drafted: tree };
}

/** @param numComputedTokens that the target has computed when the drafter is asked */
function toRequest({ scheduled, sequence, choice, params, blockTable }: SequenceOfStep, numComputedTokens: number) {
  return {
    ...{ id: sequence.id, tokenIds: sequence.tokenIds, choice, params, processor: processorOf(params, sequence) },
    target: { blockTable, numComputedTokens },
    maxNodes: 1 + scheduled.numLookaheadNodes,
    maxDepth: scheduled.maxDraftDepth,
  };
}

/**
 * Trees for the step's sequences, cut to what is worth verifying. Those whose prompt is still being computed let the proposer
 * catch up with it.
 */
async function propose(
  { proposer, policy }: HostStepParts,
  { numTokens }: SchedulerOutput,
  sequences: readonly SequenceOfStep[],
): Promise<PlannedSequence[]> {
  const { shape } = policy;
  const requests = sequences.map((planned) => ({
    ...toRequest(planned, planned.scheduled.startPosition),
    ...(shape ? { shape } : {}),
  }));
  const trees = await proposer.propose(requests);
  const cut = policy.cut(trees, numTokens);
  return sequences.map((planned, i) => {
    const tree = cut[i];
    if (tree === undefined) throw new Error(`invariant: ${proposer.name} gave no tree for ${planned.sequence.id}`);
    return { ...planned, ...tree };
  });
}
