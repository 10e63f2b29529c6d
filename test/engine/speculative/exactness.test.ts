import { describe, expect, test } from "vitest";
import { GREEDY } from "../../../engine/sampling-params.ts";
import { checkDraftTree, childOf, type DraftTree, pathOf } from "../../../engine/speculative/draft-tree.ts";
import { SuffixProposer } from "../../../engine/speculative/suffix.ts";
import { DynamicTreeBuilder } from "../../../engine/speculative/tree-builder.ts";
import { walkTree } from "../../../engine/speculative/walk.ts";
import {
  cellsOf,
  complete,
  type Distribution,
  enumerate,
  invert,
  mixed,
  normalize,
  plainText,
  randomModel,
  totalVariation,
  VOCAB,
} from "./enumeration.ts";
import { LOSSY, recursiveRejection, withoutReplacement } from "./lossy.ts";
import { NOTHING_COMPUTED } from "./nothing-computed.ts";
import { hash } from "./toy-model.ts";
import { treeFrom } from "./trees.ts";

/** Enough for sums of some thousand products of doubles. */
const EXACT = 1e-12;
/** Token before the enumerated text, and before that what the n-gram drafter knows. */
const ROOT = 2;
const HISTORY = [1, 2, 0, 1, 1, 2, 1, 0, 1, ROOT];
const MODELS = Array.from({ length: 8 }, (_, seed) => {
  const target = randomModel(seed);
  const draft = mixed(target, randomModel(seed + 100));
  return { seed, target, draft, cells: cellsOf([target, draft]) };
});
type Model = (typeof MODELS)[number];

/** One uniform for each position, which all draws at that position share. */
type Noise = readonly number[];
type Drafter = (model: Model) => (noise: Noise) => DraftTree;

const rootOnly: Drafter = () => () => treeOf([]);

const everything: Drafter = () => {
  const tree = treeOf(VOCAB.flatMap((a) => VOCAB.map((b) => [a, b])));
  return () => tree;
};

const random: Drafter = ({ seed }) => {
  const text = (i: number) => [hash(seed, i) % 3, hash(seed, i, 1) % 3].slice(0, 1 + (hash(seed, i, 2) % 2));
  const tree = treeOf([0, 1, 2, 3].map(text));
  return () => tree;
};

const topK: Drafter = ({ draft }) => {
  const tree = grow((prefix) => draft(prefix).map(Math.log));
  return () => tree;
};

const NGRAM_TREE = await lookUp(HISTORY);
const nGram: Drafter = () => () => NGRAM_TREE;

const merged: Drafter = (model) => {
  const trees = [topK(model)([]), NGRAM_TREE];
  const tree = treeOf(trees.flatMap((one) => one.tokenIds.map((_, node) => textOf(one, node))));
  return () => tree;
};

/** First what the draft draws with the noise that the target will draw with. */
const sharedNoise: Drafter =
  ({ draft }) =>
  (noise) =>
    grow((prefix) => {
      const drawn = invert(draft(prefix), noise[prefix.length] ?? 0);
      return draft(prefix).map((prob, token) => (token === drawn ? 0 : Math.log(prob / 2)));
    });

/** Sees the target, and proposes what it will not draw. */
const adversary: Drafter =
  ({ target }) =>
  ([first = 0]) =>
    treeOf(VOCAB.filter((token) => token !== invert(target([]), first)).map((token) => [token, token]));

describe.each([
  { name: "the root alone", drafter: rootOnly, accepts: false },
  { name: "all texts of two tokens", drafter: everything, accepts: true },
  { name: "random nodes", drafter: random, accepts: true },
  { name: "the top-k of a draft", drafter: topK, accepts: true },
  { name: "an n-gram", drafter: nGram, accepts: true },
  { name: "a top-k tree merged with an n-gram", drafter: merged, accepts: true },
  { name: "a draft with the target's own noise", drafter: sharedNoise, accepts: true },
  { name: "what the target is known not to draw", drafter: adversary, accepts: false },
])("target walk over $name", ({ drafter, accepts }) => {
  test.each(MODELS)("has the distribution of plain sampling, model $seed", (model) => {
    let mostAccepted = 0;
    const text = walked(model, drafter(model), (tree, sampled) => {
      checkDraftTree(tree);
      const result = walkTree(tree, sampled);
      mostAccepted = Math.max(mostAccepted, result.path.length);
      return result;
    });
    expect(totalVariation(text, plainText(model.target))).toBeLessThan(EXACT);
    expect(mostAccepted > 0).toBe(accepts);
  });
});

describe("controls: the enumeration tells what is lossy", () => {
  test("recursive rejection is exact where siblings are drawn as claimed", () => {
    for (const { target, draft } of MODELS) {
      const text = enumerate((choose) => recursiveRejection(target, draft, withoutReplacement, choose));
      expect(totalVariation(text, plainText(target))).toBeLessThan(EXACT);
    }
  });

  test.each(LOSSY)("$name", ({ rule, bound }) => {
    const loss = meanLoss(({ target, draft }) =>
      enumerate((choose) => recursiveRejection(target, draft, rule, choose)),
    );
    expect(loss).toBeGreaterThan(bound);
  });

  test("a walk that matches children by token and depth", () => {
    const twins = treeOf([[0], [1, 2], [0, 1], [2, 2]]);
    const loss = meanLoss((model) => walked(model, () => twins, walkByDepth));
    expect(loss).toBeGreaterThan(0.1);
  });

  test("a bonus token that ignores the temperature", () => {
    const tree = treeOf([[0], [1]]);
    const sharper = (probs: readonly number[]) => normalize(probs.map((prob) => prob ** 2));
    const loss = meanLoss(({ target }) =>
      enumerate((choose) => {
        const { path } = walkTree(
          tree,
          tree.tokenIds.map((_, node) => choose(target(textOf(tree, node)))),
        );
        const accepted = path.map((node) => tree.tokenIds[node] ?? -1);
        return complete([...accepted, choose(sharper(target(accepted)))], target, choose);
      }),
    );
    expect(loss).toBeGreaterThan(0.1);
  });
});

/** One speculative step, then plain decoding, with every draw by its position's noise: the text's distribution. */
function walked({ target, cells }: Model, draft: (noise: Noise) => DraftTree, walk: typeof walkTree) {
  return enumerate((choose) => {
    const noise = cells.map(({ widths, middles }) => middles[choose(widths)] ?? 0);
    const draw = (prefix: readonly number[]) => invert(target(prefix), noise[prefix.length] ?? 0);
    const tree = draft(noise);
    const sampled = tree.tokenIds.map((_, node) => draw(textOf(tree, node)));
    const text = [...walk(tree, sampled).tokenIds];
    while (text.length < cells.length) text.push(draw(text));
    return text;
  });
}

function meanLoss(text: (model: Model) => ReadonlyMap<string, number>): number {
  const losses = MODELS.map((model) => totalVariation(text(model), plainText(model.target)));
  return losses.reduce((sum, loss) => sum + loss, 0) / losses.length;
}

const walkByDepth: typeof walkTree = (tree, sampled) => {
  const [path, tokenIds]: [number[], number[]] = [[], []];
  for (let node = 0; node >= 0; ) {
    const drawn = sampled[node] ?? -1;
    tokenIds.push(drawn);
    node = tree.tokenIds.findIndex((token, i) => token === drawn && tree.depths[i] === tokenIds.length);
    if (node > 0) path.push(node);
  }
  return { path, tokenIds };
};

/** The tree of some texts below the root. */
function treeOf(texts: readonly (readonly number[])[]): DraftTree {
  const wishes: [number, number][] = [];
  let tree = treeFrom(ROOT, wishes);
  for (const text of texts) {
    let node = 0;
    for (const token of text) {
      wishes.push([node, token]);
      tree = treeFrom(ROOT, wishes);
      node = childOf(tree)(node, token) ?? 0;
    }
  }
  return tree;
}

/** Tokens from the root's child down to the node. */
function textOf(tree: DraftTree, node: number): number[] {
  return pathOf(tree, node).map((at) => tree.tokenIds[at] ?? -1);
}

/** The dynamic tree for log-survivals by prefix. */
function grow(logSurvivals: Distribution): DraftTree {
  const builder = new DynamicTreeBuilder({ rootTokenId: ROOT, maxNodes: 6, maxDepth: 2, topK: 2 });
  while (!builder.done) {
    const nodes = builder.expanded();
    const prefixOf = (id: number): number[] => {
      const node = nodes[id];
      return node === undefined || node.parent < 0 ? [] : [...prefixOf(node.parent), node.tokenId];
    };
    builder.expand(
      builder.frontier().map(({ id }) => {
        const candidates = logSurvivals(prefixOf(id)).map((logSurvival, tokenId) => ({ tokenId, logSurvival }));
        return candidates.sort((a, b) => b.logSurvival - a.logSurvival);
      }),
    );
  }
  return builder.build();
}

async function lookUp(tokenIds: readonly number[]): Promise<DraftTree> {
  const proposer = new SuffixProposer();
  proposer.begin("text", tokenIds);
  const [tree] = await proposer.propose([
    { id: "text", tokenIds, choice: 0, params: GREEDY, target: NOTHING_COMPUTED, maxNodes: 6, maxDepth: 2 },
  ]);
  if (tree === undefined) throw new Error("no tree");
  return tree;
}
