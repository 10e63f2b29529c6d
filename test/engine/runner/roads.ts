import type { BatchSequence } from "../../../engine/runner/batch.ts";
import type { ModelRunner } from "../../../engine/runner/model-runner.ts";
import { GREEDY } from "../../../engine/sampling-params.ts";
import { BLOCK_SIZE, type SlotMove } from "../../../kvcache/ids.ts";
import type { Random } from "../../support/random.ts";

/** A sequence on its way through a runner: known tokens, and a block table of its own. */
export interface Traveller {
  readonly tokenIds: readonly number[];
  readonly blockTable: readonly number[];
}

/** Takes a sequence from position `from` to its end, so that every token has K/V and the last one's logits are read. */
export type Road = (runner: ModelRunner, traveller: Traveller, from: number, random: Random) => Promise<void>;

const sampling = { params: GREEDY, choice: 0 };
/** Trees that also draw at their nodes, which takes longer than the rest of their pass. */
const SHARE_DRAWN = 0.15;

/** Known tokens `start … start + numTokens − 1`; the last token of the sequence samples. */
function chunk({ tokenIds, blockTable }: Traveller, startPosition: number, numTokens: number): BatchSequence {
  const rootPosition = startPosition + numTokens - 1;
  const last = rootPosition === tokenIds.length - 1;
  return { tokenIds, startPosition, numTokens, blockTable, rootPosition, ...(last ? { sampling } : {}) };
}

/** Chunks of sizes that `next` gives. */
export function inChunks(next: (random: Random) => number): Road {
  return async (runner, traveller, from, random) => {
    for (let at = from; at < traveller.tokenIds.length; ) {
      const numTokens = Math.min(next(random), traveller.tokenIds.length - at, runner.options.maxRows);
      await runner.run([chunk(traveller, at, numTokens)]);
      at += numTokens;
    }
  };
}

/** Chunks beside other sequences, which come before and after it in the batch and are at other positions. */
export function amongOthers(others: readonly Traveller[]): Road {
  return async (runner, traveller, from, random) => {
    for (let at = from; at < traveller.tokenIds.length; ) {
      const numTokens = Math.min(random.int(1, 9), traveller.tokenIds.length - at);
      const strangers = others.map((other) => chunk(other, random.int(0, 40), random.int(1, 12)));
      const place = random.int(0, strangers.length);
      await runner.run([...strangers.slice(0, place), chunk(traveller, at, numTokens), ...strangers.slice(place)]);
      at += numTokens;
    }
  };
}

/**
 * Random trees whose true path is then committed, each beside trees, plain decodes and prompt chunks of other sequences in the
 * same pass; the last token goes as a plain decode.
 */
export function throughTrees(others: readonly Traveller[]): Road {
  return async (runner, traveller, from, random) => {
    const { tokenIds } = traveller;
    let root = from;
    while (root < tokenIds.length - 1) {
      const tree = randomTree(tokenIds, root, Math.min(random.int(0, 6), tokenIds.length - 2 - root), random);
      const strangers = others.map((other) => {
        if (random.next() < 0.3) return chunk(other, random.int(0, 40), random.int(2, 12));
        const otherRoot = random.int(0, 40);
        const otherTree = randomTree(other.tokenIds, otherRoot, random.int(0, 4), random);
        return { ...chunk(other, otherRoot, 1), tree: { ...otherTree, firstNode: 1 } };
      });
      const place = random.int(0, strangers.length);
      const draws = random.next() < SHARE_DRAWN ? { sampling } : {};
      const mine = { ...chunk(traveller, root, 1), ...draws, tree: { ...tree, firstNode: 1 } };
      await runner.run([...strangers.slice(0, place), mine, ...strangers.slice(place)]);
      runner.kv.commit(tree.truePath.map((node, i) => moveOf(traveller, root + node, root + i + 1)));
      root += tree.truePath.length + 1;
    }
    await runner.run([chunk(traveller, root, 1)]);
  };
}

/** A tree with the sequence's own next `depth` tokens somewhere in it, among nodes that go astray. */
function randomTree(known: readonly number[], root: number, depth: number, random: Random) {
  const tokenIds = [known[root] ?? 0];
  const parents = [-1];
  const depths = [0];
  const truePath: number[] = [];
  const add = (tokenId: number, parent: number) => {
    tokenIds.push(tokenId);
    parents.push(parent);
    depths.push((depths[parent] ?? 0) + 1);
    return tokenIds.length - 1;
  };
  while (truePath.length < depth) {
    for (let i = random.int(0, 2); i > 0; i--) add(random.int(3, 4000), random.int(0, tokenIds.length - 1));
    truePath.push(add(known[root + truePath.length + 1] ?? 0, truePath.at(-1) ?? 0));
  }
  for (let i = random.int(0, 2); i > 0; i--) add(random.int(3, 4000), random.int(0, tokenIds.length - 1));
  return { tokenIds, parents, depths, truePath };
}

function moveOf({ blockTable }: Traveller, from: number, to: number): SlotMove {
  const slot = (index: number) => (blockTable[Math.floor(index / BLOCK_SIZE)] ?? 0) * BLOCK_SIZE + (index % BLOCK_SIZE);
  return { from: slot(from), to: slot(to) };
}
