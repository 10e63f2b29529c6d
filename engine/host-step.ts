import type { SchedulerOutput } from "../scheduler/output.ts";
import { processorOf } from "./runner/logits-processor.ts";
import type { ModelRunner, PassTimes } from "./runner/model-runner.ts";
import type { CutTree, TreePolicy } from "./speculative/budget/tree-policy.ts";
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

/**
 * A step of any kind, drafted, batched and walked by the host.
 * @param catchesUp a plain step in which the drafter computes what it has not seen yet
 */
export async function decodeOnHost(
  parts: HostStepParts,
  output: SchedulerOutput,
  sequences: readonly SequenceOfStep[],
  catchesUp: boolean,
): Promise<Verification> {
  const startMs = performance.now();
  const plan = await propose(parts, output, sequences, catchesUp);
  const draftMs = performance.now() - startMs;
  const { runner } = parts;
  const verified = verify(plan, await runner.run(plan.map(toBatch)));
  runner.kv.commit(verified.flatMap(({ moves, failed }) => (failed ? [] : moves)));
  const pass = runner.profile;
  return { sequences: verified, draftMs, ...(pass ? { pass } : {}) };
}

/**
 * Trees for the step's sequences, cut to what is worth verifying. Those whose prompt is still being computed let the proposer
 * catch up with it. In a plain step nobody is asked, unless it is to catch up.
 */
async function propose(
  { proposer, policy }: HostStepParts,
  { limits, numTokens }: SchedulerOutput,
  sequences: readonly SequenceOfStep[],
  catchesUp: boolean,
): Promise<PlannedSequence[]> {
  if (limits.numLookaheadNodes === 0 && !catchesUp) {
    return sequences.map((planned) => {
      const tree = rootOnly(planned.sequence.tokenIds[planned.scheduled.rootPosition] ?? 0);
      return { ...planned, tree, drafted: tree };
    });
  }
  const trees = await proposer.propose(
    sequences.map(({ scheduled, sequence, choice, params, blockTable }) => ({
      ...{ id: sequence.id, tokenIds: sequence.tokenIds, choice, params, processor: processorOf(params, sequence) },
      target: { blockTable, numComputedTokens: scheduled.startPosition },
      maxNodes: 1 + scheduled.numLookaheadNodes,
      maxDepth: scheduled.maxDraftDepth,
      ...(policy.shape ? { shape: policy.shape } : {}),
    })),
  );
  const cut = catchesUp ? trees.map((tree): CutTree => ({ tree, drafted: tree })) : policy.cut(trees, numTokens);
  return sequences.map((planned, i) => {
    const tree = cut[i];
    if (tree === undefined) throw new Error(`invariant: ${proposer.name} gave no tree for ${planned.sequence.id}`);
    return { ...planned, ...tree };
  });
}
