import fc from "fast-check";
import { expect, test } from "vitest";
import { childOf, type DraftTree, pathOf, rootOnly } from "../../../engine/speculative/draft-tree.ts";
import { walkTree } from "../../../engine/speculative/walk.ts";
import { decode, sampleTree, scanForChild, uniform } from "./toy-model.ts";
import { draftTrees, treeFrom } from "./trees.ts";

const TREE: DraftTree = {
  tokenIds: [7, 1, 2, 2, 2],
  parents: [-1, 0, 0, 1, 2],
  probs: [1, 0.5, 0.5, 0.5, 0.5],
  depths: [0, 1, 1, 2, 2],
};

test.each([
  { sampled: [9, 1, 2, 1, 1], path: [], tokenIds: [9], what: "nothing accepted: the bonus token alone" },
  { sampled: [1, 5, 2, 1, 1], path: [1], tokenIds: [1, 5], what: "one accepted" },
  { sampled: [2, 2, 2, 4, 6], path: [2, 4], tokenIds: [2, 2, 6], what: "the branch of the node, not its twin's" },
  { sampled: [2, 2, 1, 4, 6], path: [2], tokenIds: [2, 1], what: "a sibling of the node is no child of it" },
])("$what", ({ sampled, path, tokenIds }) => {
  expect(walkTree(TREE, sampled)).toEqual({ path, tokenIds });
});

test("a root alone gives the sampled token", () => {
  expect(walkTree(rootOnly(3), Uint32Array.of(8))).toEqual({ path: [], tokenIds: [8] });
});

test("a draw that is missing is a broken invariant", () => {
  expect(() => walkTree(TREE, [1])).toThrow(/nothing was sampled at node 1/);
});

/** Draws from little more tokens than the tree is made of, so that many walks get deep. */
const sampledTrees = fc
  .tuple(draftTrees(3, 16), fc.array(fc.nat(3), { minLength: 16, maxLength: 16 }))
  .map(([tree, sampled]) => ({ tree, sampled }));

test("equals a walk by recursion and scan", () => {
  let deepest = 0;
  fc.assert(
    fc.property(sampledTrees, ({ tree, sampled }) => {
      const scan = scanForChild(tree);
      const recur = (node: number): { path: number[]; tokenIds: number[] } => {
        const tokenId = sampled[node] ?? -1;
        const child = scan(node, tokenId);
        if (child === undefined) return { path: [], tokenIds: [tokenId] };
        const rest = recur(child);
        return { path: [child, ...rest.path], tokenIds: [tokenId, ...rest.tokenIds] };
      };
      const result = walkTree(tree, sampled);
      expect(result).toEqual(recur(0));
      expect(result.path).toEqual(pathOf(tree, result.path.at(-1) ?? 0));
      deepest = Math.max(deepest, result.path.length);
    }),
    { numRuns: 500 },
  );
  expect(deepest).toBeGreaterThan(2);
});

const NUM_TOKENS = 24;
const VOCAB_SIZE = 5;

test.each([0, 0.7, 1])("text with random trees is the text of plain decoding, at temperature %d", (temperature) => {
  let numAccepted = 0;
  fc.assert(
    fc.property(fc.nat(), fc.nat(1), fc.double({ min: 0, max: 1, noNaN: true }), (seed, choice, luck) => {
      const model = { seed, vocabSize: VOCAB_SIZE };
      const draw = { temperature, seed: seed + 1, choice };
      const prompt = [seed % VOCAB_SIZE, 2];
      const plain = decode(model, prompt, NUM_TOKENS, draw);
      const tokens = [...prompt];
      while (tokens.length < prompt.length + NUM_TOKENS) {
        const tree = guess(tokens, plain.slice(tokens.length - prompt.length), luck, seed);
        const { path, tokenIds } = walkTree(tree, sampleTree(model, tokens, tree, draw));
        expect(path).toHaveLength(tokenIds.length - 1);
        numAccepted += path.length;
        tokens.push(...tokenIds);
      }
      expect(tokens.slice(prompt.length, prompt.length + NUM_TOKENS)).toEqual(plain);
    }),
    { numRuns: 60 },
  );
  expect(numAccepted).toBeGreaterThan(60);
});

/** A random tree that holds each next token of the true text with probability `luck`, among random others. */
function guess(known: readonly number[], truth: readonly number[], luck: number, seed: number): DraftTree {
  const random = (i: number) => uniform(seed, known.length, i);
  const others = Array.from({ length: 10 }, (_, i): [number, number] => [
    Math.floor(random(i) * 16),
    Math.floor(random(i + 50) * VOCAB_SIZE),
  ]);
  const start = treeFrom(known.at(-1) ?? 0, others.slice(0, 5));
  const wishes = start.tokenIds.slice(1).map((token, i): [number, number] => [start.parents[i + 1] ?? 0, token]);
  let [tree, node] = [start, 0];
  for (const [i, token] of truth.slice(0, 4).entries()) {
    if (random(i + 100) > luck) break;
    wishes.push([node, token]);
    tree = treeFrom(known.at(-1) ?? 0, wishes);
    node = childOf(tree)(node, token) ?? 0;
  }
  return treeFrom(known.at(-1) ?? 0, [...wishes, ...others.slice(5)]);
}
