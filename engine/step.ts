import { type LaneTree, NO_TOKEN } from "../kernels/index.ts";
import { BLOCK_SIZE, type SlotMove } from "../kvcache/ids.ts";
import type { ScheduledSequence, StepResult } from "../scheduler/output.ts";
import type { Sequence } from "../scheduler/sequence.ts";
import type { StepSequence } from "./client.ts";
import type { LaneStep } from "./resident/resident-step.ts";
import type { BatchSequence } from "./runner/batch.ts";
import { processorOf } from "./runner/logits-processor.ts";
import type { SampledRows } from "./runner/model-runner.ts";
import { pathLogprobs, type TokenLogprobs } from "./runner/token-logprobs.ts";
import type { SamplingParams } from "./sampling-params.ts";
import type { CutTree } from "./speculative/budget/tree-policy.ts";
import type { DraftTree } from "./speculative/draft-tree.ts";
import { walkedNodes, walkTree } from "./speculative/walk.ts";

/** A scheduled sequence with what only the engine and the cache know of it. */
export interface SequenceOfStep {
  readonly scheduled: ScheduledSequence;
  readonly sequence: Sequence;
  readonly params: SamplingParams;
  readonly choice: number;
  readonly blockTable: readonly number[];
}

/** One sequence's part of a step, with everything that its rows need; `tree` is node 0 alone where nothing was drafted. */
export interface PlannedSequence extends SequenceOfStep, CutTree {}

/** What verification found for one sequence. */
export interface VerifiedSequence extends CutTree {
  readonly result: StepResult;
  /** The logits held no token to draw: they were not numbers. */
  readonly failed: boolean;
  /** Of the result's tokens, where the request asks for them. */
  readonly logprobs?: readonly TokenLogprobs[];
}

/** The same of a step that the host walks. */
export interface WalkedSequence extends VerifiedSequence {
  /** Copies that make the accepted path's K/V contiguous, in ascending depth. */
  readonly moves: readonly SlotMove[];
}

/** Rows of the verify pass: the chunk of known tokens, then the tree's nodes below the last of them. */
export function toBatch({ scheduled, params, choice, blockTable, tree }: PlannedSequence): BatchSequence {
  const { sequence, startPosition, numTokens, rootPosition, needsSample } = scheduled;
  return {
    ...{ tokenIds: sequence.tokenIds, startPosition, numTokens, blockTable, rootPosition },
    ...(needsSample
      ? { tree: { ...tree, firstNode: 1 }, sampling: { params, choice, processor: processorOf(params, sequence) } }
      : {}),
  };
}

/**
 * Walks every sampled sequence's tree. Pure: nothing is committed.
 * @param sampled one token for each row that samples, in the order of the batch
 */
export function verify(
  plan: readonly PlannedSequence[],
  sampled: Pick<SampledRows, "tokenIds" | "logprobs">,
): WalkedSequence[] {
  let at = 0;
  return plan
    .filter(({ scheduled }) => scheduled.needsSample)
    .map((planned) => {
      const numNodes = planned.tree.tokenIds.length;
      const root = at;
      at += numNodes;
      const { path, tokenIds } = walkTree(planned.tree, sampled.tokenIds.subarray(root, at));
      const rows = [0, ...path].map((node) => root + node);
      const { logprobs: numTop } = planned.params;
      const logprobs =
        sampled.logprobs && numTop !== undefined
          ? { logprobs: pathLogprobs(sampled.logprobs, rows, tokenIds, numTop) }
          : {};
      return {
        ...{ tree: planned.tree, drafted: planned.drafted },
        ...(planned.kept ? { kept: planned.kept } : {}),
        result: { id: planned.scheduled.sequence.id, tokenIds, numAccepted: path.length },
        moves: movesOf(planned, path),
        failed: tokenIds.at(-1) === NO_TOKEN,
        ...logprobs,
      };
    });
}

/** Node i's K/V was written to slot rootPosition + i; its place is its position, rootPosition + depth. */
function movesOf({ scheduled, blockTable }: PlannedSequence, path: readonly number[]): SlotMove[] {
  const slot = (index: number) => (blockTable[Math.floor(index / BLOCK_SIZE)] ?? 0) * BLOCK_SIZE + (index % BLOCK_SIZE);
  return path
    .map((node, i) => ({ from: scheduled.rootPosition + node, to: scheduled.rootPosition + i + 1 }))
    .filter(({ from, to }) => from !== to)
    .map(({ from, to }) => ({ from: slot(from), to: slot(to) }));
}

/**
 * What a lane's step found, its tree as the host has trees.
 * @param proposers names of those who propose into one tree, where they are several
 */
export function verifiedLane(
  id: string,
  { alive, emitted, tree: verified, numDrafted, drafted, logprobs }: LaneStep,
  proposers?: readonly string[],
): VerifiedSequence {
  const tree = asDraftTree(verified, proposers);
  const result = { id, tokenIds: emitted, numAccepted: emitted.length - 1 };
  const isWhole = numDrafted === tree.tokenIds.length;
  const found = isWhole
    ? { tree, drafted: tree, result, failed: !alive }
    : new CutLane(tree, () => asDraftTree(drafted(), proposers), result, !alive);
  return logprobs ? Object.assign(found, { logprobs }) : found;
}

/** A sequence's part of a step of which some nodes were cut: what they were is read where it is asked for. */
class CutLane implements VerifiedSequence {
  readonly tree: DraftTree;
  readonly result: StepResult;
  readonly failed: boolean;
  readonly #drafted: () => DraftTree;

  constructor(tree: DraftTree, drafted: () => DraftTree, result: StepResult, failed: boolean) {
    this.tree = tree;
    this.#drafted = drafted;
    this.result = result;
    this.failed = failed;
  }

  get drafted(): DraftTree {
    return this.#drafted();
  }

  get kept(): ReadonlySet<number> {
    return new Set(this.tree.tokenIds.keys());
  }
}

/** A tree of the root alone has no proposers. */
function asDraftTree(lane: LaneTree, proposers: readonly string[] | undefined): DraftTree {
  const { tokenIds, parents, depths, logSurvivals } = lane;
  const tree = { tokenIds, parents: parents.with(0, -1), depths, probs: logSurvivals.map(Math.exp) };
  return proposers && tokenIds.length > 1 ? { ...tree, proposers: namesOf(lane, proposers) } : tree;
}

/** Who proposed each node: nobody the root. */
function namesOf({ proposers: bits }: LaneTree, names: readonly string[]): string[][] {
  return bits.map((mask, node) => (node === 0 ? [] : names.filter((_, member) => (mask & (1 << member)) !== 0)));
}

/** What the dashboard and the metrics are told about a verified sequence. */
export function describe({ tree, result }: VerifiedSequence): StepSequence {
  const numDraft = tree.tokenIds.length - 1;
  const { id, numAccepted, tokenIds } = result;
  if (numDraft === 0) return { id, numDraft, numAccepted };
  const accepted = tree.tokenIds.map(() => false);
  for (const node of walkedNodes(tree, tokenIds)) accepted[node] = true;
  const bonusTokenId = tokenIds.at(-1) ?? 0;
  const described = { tokenIds: tree.tokenIds, parents: tree.parents, probs: tree.probs, accepted, bonusTokenId };
  const { proposers } = tree;
  return { id, numDraft, numAccepted, tree: proposers ? { ...described, proposers } : described };
}
