import { AdaptiveTrees } from "../../../../engine/speculative/budget/adaptive-trees.ts";
import { sizesUpTo } from "../../../../engine/speculative/budget/sizes.ts";
import type { ExpectedRates, TreePolicy } from "../../../../engine/speculative/budget/tree-policy.ts";
import type { VerifiedDraft } from "../../../../engine/speculative/budget/verified-draft.ts";
import { isSame } from "../../../../engine/speculative/budget/way-in-use.ts";
import { childOf, type DraftTree, survivals } from "../../../../engine/speculative/draft-tree.ts";
import { walkTree } from "../../../../engine/speculative/walk.ts";
import { laneBudgetReference } from "../../../../kernels/reference/lane-budget.ts";
import { isPlain as isPlainDecoding, NO_TREES } from "../../../../scheduler/output.ts";
import { Random } from "../../../support/random.ts";

export const MAX_NODES = 16;
export const MAX_DEPTH = 6;
const TOKEN_BUDGET = 512;
/** Steps in which a machine with other work gets faster and slower again. */
const SWING_STEPS = 170;

/** Tokens of a text. */
const CONTEXT = 80;

/** Of a gust, what is left of it in the next step. */
const GUST_KEPT = 0.96;

/** A machine and a drafter, as they truly are. */
export interface World {
  readonly name: string;
  /** A pass of so many rows, in ms. */
  readonly passMs: (numRows: number) => number;
  /** What start-up measures of a pass, where that is not what it takes later. */
  readonly measuredMs?: (numRows: number) => number;
  /** Tokens that drafters have not seen take so long, each of a sequence; with none given, they are no more than a few levels of the first draft. */
  readonly catchUpMs?: number;
  /** One level of a draft for so many sequences, in ms. */
  readonly levelMs: (numSequences: number) => number;
  /** Plain steps, where the device runs them, take this share of a pass. */
  readonly plainShare: number;
  /** The first step on the device after a prompt, or after a change between plain decoding and trees, takes so many times as long. */
  readonly startFactor: number;
  /** By how much it gets faster and slower again and again, in log ratio. */
  readonly swing: number;
  /** By how much it does by the moment, as a standard deviation in log ratio: half of what a step has of it, the 17th after it has too. */
  readonly gusts?: number;
  readonly draftsOnDevice: boolean;
  /** How often a first choice is right, by step; the drafter's own estimate is `overconfidence` times nearer to 1. */
  readonly quality: (step: number) => number;
  readonly overconfidence: number;
}

/** A tree of the best nodes by estimate, and the tokens that the target emits along it. */
interface Drafted {
  readonly tree: DraftTree;
  readonly tokenIds: readonly number[];
}

/** Chances of the three best tokens at a node, and what the drafter says of them. */
function chances(world: World, quality: number, random: Random) {
  const sure = random.next() < quality;
  const first = sure ? 0.75 + 0.2 * random.next() : 0.2 + 0.3 * random.next();
  const rest = 1 - first;
  const truth = [first, 0.5 * rest, 0.2 * rest];
  return truth.map((prob, i) => ({
    prob,
    said: i === 0 ? 1 - (1 - prob) / world.overconfidence : prob / world.overconfidence,
  }));
}

/** Best first, by the drafter's estimate: what a dynamic tree is. */
function draft(world: World, quality: number, maxNodes: number, maxDepth: number, random: Random): Drafted {
  const tree = { tokenIds: [0], parents: [-1], probs: [1], depths: [0] };
  const sampled: number[] = [];
  const leaves: { parent: number; tokenId: number; prob: number; score: number; depth: number }[] = [];
  const open = (node: number, score: number) => {
    const depth = (tree.depths[node] ?? 0) + 1;
    const children = chances(world, quality, random);
    let draw = random.next();
    sampled[node] = 9;
    for (const [i, { prob, said }] of children.entries()) {
      if (draw >= 0 && draw < prob) sampled[node] = i;
      draw -= prob;
      if (depth <= maxDepth) leaves.push({ parent: node, tokenId: i, prob: said, score: score * said, depth });
    }
  };
  open(0, 1);
  while (tree.tokenIds.length < maxNodes && leaves.length > 0) {
    const at = leaves.reduce((best, { score }, i) => (score > (leaves[best]?.score ?? 0) ? i : best), 0);
    const [leaf] = leaves.splice(at, 1);
    if (leaf === undefined) break;
    const node = tree.tokenIds.push(leaf.tokenId) - 1;
    tree.parents.push(leaf.parent);
    tree.probs.push(leaf.prob);
    tree.depths.push(leaf.depth);
    open(node, leaf.score);
  }
  return { tree, tokenIds: walkTree(tree, sampled).tokenIds };
}

/** What the target emits when only some nodes are verified: the way ends where a node is missing. */
function emitted({ tree, tokenIds }: Drafted, kept: ReadonlySet<number>): readonly number[] {
  const child = childOf(tree);
  let node = 0;
  for (const [i, tokenId] of tokenIds.entries()) {
    const next = child(node, tokenId);
    if (next === undefined || !kept.has(next)) return tokenIds.slice(0, i + 1);
    node = next;
  }
  return tokenIds;
}

const SIZES = [2, 3, 4, 6, 8, 12, 16];

/** Mean tokens a step by size and depth of the trees, such as "8 4". */
export function meanLengths(world: World, step: number, seed: number, numTrees: number): ReadonlyMap<string, number> {
  const random = new Random(seed);
  const lengths = new Map<string, number>();
  for (let i = 0; i < numTrees; i++) {
    for (let depth = 1; depth <= MAX_DEPTH; depth++) {
      const drafted = draft(world, world.quality(step), MAX_NODES, depth, random);
      const survival = survivals(drafted.tree);
      const order = [...survival.keys()].sort((a, b) => (survival[b] ?? 0) - (survival[a] ?? 0) || a - b);
      for (const size of SIZES) {
        const { length } = emitted(drafted, new Set(order.slice(0, size)));
        lengths.set(`${size} ${depth}`, (lengths.get(`${size} ${depth}`) ?? 0) + length / numTrees);
      }
    }
  }
  return lengths;
}

/** Tokens a ms of plain decoding, and of trees of each fixed size that `lengths` has. */
export function fixedRates(world: World, lengths: ReadonlyMap<string, number>, numSequences: number) {
  const rates = [...lengths].map(([key, length]) => {
    const [size = 0, depth = 0] = key.split(" ").map(Number);
    return (numSequences * length) / (world.passMs(numSequences * size) + depth * world.levelMs(numSequences));
  });
  return { plain: numSequences / (world.plainShare * world.passMs(numSequences)), best: Math.max(...rates) };
}

/** Of each tree, whose nodes stand by falling survival, those that are among the best of all. */
function shareRows(trees: readonly DraftTree[], budget: number): readonly ReadonlySet<number>[] {
  const kept = laneBudgetReference(
    trees.map((tree) => survivals(tree).slice(1)),
    budget,
  );
  return kept.map((count) => new Set(Array.from({ length: count }, (_, node) => node)));
}

function normal(random: Random): number {
  return Math.sqrt(-2 * Math.log(1 - random.next())) * Math.cos(2 * Math.PI * random.next());
}

export interface Outcome {
  /** Tokens a ms, without the steps of `warmUp`. */
  readonly rate: number;
  /** Share of the steps that drafted. */
  readonly draftShare: number;
  readonly calibrationError: number;
  /** Changes from one size of trees to another while nothing but the policy asked for it: in a run on the device, and by its end. */
  readonly numResized: { readonly running: number; readonly stopped: number };
  /** What the policy compared when it last decided, in tokens a second. */
  readonly expected: ExpectedRates | undefined;
}

/**
 * Lets the policy run, on a machine whose times are noisy, and whose start-up measurement was off. Time counts as it would be
 * without noise; where trees are not cut, tokens count by `lengths`, so that luck does not.
 */
export function simulate(
  world: World,
  lengths: ReadonlyMap<string, number>,
  run: {
    readonly load: (step: number) => number;
    /** Tokens of the batch between two prompts, whose steps run on the host and draft nothing; none come where it is not given. */
    readonly tokensPerPrompt?: number;
    /** Who decides, where it is not the adaptive policy. */
    readonly policy?: TreePolicy;
    readonly numSteps: number;
    /** Steps at the beginning that do not count. */
    readonly warmUp: number;
    readonly seed: number;
  },
): Outcome {
  const { load, numSteps, warmUp, seed } = run;
  const random = new Random(seed);
  const noise = () => Math.exp(0.2 * (random.next() + random.next() - 1)) * (random.next() < 0.01 ? 3 : 1);
  const sizes = [1, ...sizesUpTo(512)].filter((numRows) => world.passMs(numRows) < 90);
  const measuredMs = world.measuredMs ?? world.passMs;
  const passes = sizes.map((numRows) => ({ numRows, ms: measuredMs(numRows) * (1.05 + 0.1 * random.next()) }));
  passes.sort((a, b) => a.numRows - b.numRows);
  const { draftsOnDevice } = world;
  const policy =
    run.policy ??
    new AdaptiveTrees({
      ...{ maxNodes: MAX_NODES, maxDepth: MAX_DEPTH, tokenBudget: TOKEN_BUDGET, draftsOnDevice },
      passes: { passes, perToken: [], treeShare: 0 },
      ...{ plainOnDevice: world.plainShare < 1, draftRows: 3 },
    });
  const { plainShare, startFactor } = world;
  let [tokens, ms, numDrafting] = [0, 0, 0];
  const numResized = { running: 0, stopped: 0 };
  let [numBehind, numBefore, untilPrompt] = [
    world.catchUpMs === undefined ? 0 : CONTEXT,
    0,
    run.tokensPerPrompt ?? Number.POSITIVE_INFINITY,
  ];
  let limits = NO_TREES;
  let numSequences = 0;
  let gust = 0;
  for (let step = 0; step < numSteps; step++) {
    const hasPrompt = untilPrompt <= 0;
    const goesOn = load(step) === numSequences && !hasPrompt && numBefore > 0;
    const next = goesOn ? policy.next(limits) : undefined;
    numSequences = load(step);
    if (next === undefined) numBefore = 0;
    const before = limits;
    limits = next ?? policy.limits(numSequences, CONTEXT);
    if (goesOn && !isPlainDecoding(before) && !isPlainDecoding(limits) && !isSame(before, limits)) {
      numResized[next ? "running" : "stopped"]++;
    }
    const drafts: VerifiedDraft[] = [];
    const isDrafting = limits.numLookaheadNodes > 0;
    const catchesUp = isDrafting && world.catchUpMs !== undefined && numBehind > 0;
    const isPlain = hasPrompt || catchesUp || !isDrafting;
    const numShare = Math.min(1 + limits.numLookaheadNodes, Math.floor(TOKEN_BUDGET / numSequences));
    const mostNodes = limits.mostLookaheadNodes === undefined ? numShare : 1 + limits.mostLookaheadNodes;
    let [stepMs, draftMs, numRows, numEmitted] = [0, 0, numSequences, 0];
    if (isPlain) {
      stepMs = (hasPrompt ? 2 : plainShare) * world.passMs(numSequences);
      numEmitted = numSequences;
      // With a prompt the drafter catches up, where it drafts at all.
      if (catchesUp) {
        draftMs = numSequences * Math.min(numBehind, CONTEXT) * (world.catchUpMs ?? 0);
        numBehind = 0;
      } else if (hasPrompt && isDrafting) draftMs = world.levelMs(numSequences);
      else numBehind++;
    } else {
      const depth = Math.min(limits.maxDraftDepth, mostNodes - 1);
      // Tokens that the drafter has not seen are caught up with first.
      draftMs = (depth + Math.min(4, numBehind / 4)) * world.levelMs(numSequences);
      numBehind = 0;
      const all = Array.from({ length: numSequences }, () =>
        draft(world, world.quality(step), mostNodes, depth, random),
      );
      const trees = all.map(({ tree }) => tree);
      const cut = draftsOnDevice ? undefined : policy.cut(trees, numSequences);
      const shared = mostNodes > numShare ? shareRows(trees, numSequences * (numShare - 1)) : undefined;
      for (const [i, drafted] of all.entries()) {
        const kept = cut?.[i]?.kept ?? shared?.[i];
        const tokenIds = kept === undefined ? drafted.tokenIds : emitted(drafted, kept);
        numEmitted += tokenIds.length;
        numRows += (draftsOnDevice ? numShare : (kept?.size ?? mostNodes)) - 1;
        const bounds = { maxNodes: mostNodes, maxDepth: depth };
        drafts.push({ tree: drafted.tree, tokenIds, ...bounds, ...(kept ? { kept } : {}) });
      }
      stepMs = world.passMs(numRows);
    }
    const onDevice = !hasPrompt && !catchesUp && (isPlain ? plainShare < 1 : draftsOnDevice);
    // The first of two steps in flight is read late, the second early.
    const factor = onDevice ? ([startFactor, 0.5][numBefore] ?? 1) : 1;
    const [trueMs, trueDraftMs] = [stepMs * factor, draftMs * factor];
    gust = GUST_KEPT * gust + (world.gusts ?? 0) * Math.sqrt(1 - GUST_KEPT ** 2) * normal(random);
    const swing = Math.exp(gust + world.swing * Math.sin((2 * Math.PI * step) / SWING_STEPS));
    const seenDraftMs = trueDraftMs * noise() * swing;
    policy.observe({
      ...{
        numSequences,
        numLanes: numSequences,
        context: CONTEXT,
        numRows,
        numEmitted,
        drafts,
        onDevice,
        hasPrompt,
        catchesUp,
      },
      limits: hasPrompt || catchesUp ? NO_TREES : limits,
      isSteady: !hasPrompt && !catchesUp && (!onDevice || numBefore >= 2),
      stepMs: trueMs * noise() * swing + seenDraftMs,
      isLast: false,
      draftMs: draftsOnDevice ? 0 : seenDraftMs,
    });
    numBefore = onDevice ? numBefore + 1 : 0;
    untilPrompt = (hasPrompt ? (run.tokensPerPrompt ?? 0) : untilPrompt) - numEmitted;
    if (step < warmUp) continue;
    const isUniform = draftsOnDevice && !isPlain && mostNodes === numShare;
    const mean = isUniform ? lengths.get(`${mostNodes} ${limits.maxDraftDepth}`) : undefined;
    tokens += mean === undefined ? numEmitted : numSequences * mean;
    ms += trueMs + trueDraftMs;
    if (!isPlain) numDrafting++;
  }
  return {
    rate: tokens / ms,
    numResized,
    draftShare: numDrafting / (numSteps - warmUp),
    calibrationError: policy.state?.calibrationError ?? 0,
    expected: policy.state?.expected,
  };
}
