import { afterEach, beforeEach, describe, expect, test } from "vitest";
import { GREEDY, type SamplingParams } from "../../../engine/sampling-params.ts";
import { checkDraftTree, type DraftTree, pathOf } from "../../../engine/speculative/draft-tree.ts";
import type { ProposeRequest, Proposer } from "../../../engine/speculative/proposer.ts";
import { walkTree } from "../../../engine/speculative/walk.ts";
import { NOTHING_COMPUTED } from "./nothing-computed.ts";
import { hash } from "./toy-model.ts";

export interface ContractOptions {
  /** Token ids of the tests are below this. */
  readonly vocabSize: number;
  /** Largest tree that is asked for, root included. */
  readonly maxNodes: number;
  readonly maxDepth: number;
}

const DEFAULTS: ContractOptions = { vocabSize: 32, maxNodes: 8, maxDepth: 6 };
const WARM: SamplingParams = { ...GREEDY, temperature: 0.8, seed: [5, 6] };
const PLAIN = { choice: 0, params: GREEDY };
const WARM_CHOICE = { choice: 3, params: WARM };

/** A text that is known to a proposer. */
interface Known {
  readonly id: string;
  readonly tokenIds: number[];
}

/**
 * What the engine relies on, whichever proposer it has. Texts stay below 100 tokens; at most four are alive at a time, and
 * a step needs at most 100 rows, so that a proposer with a row budget of that size drafts for all of them.
 * @param makeProposer gives a new proposer; its `close` is called after each test
 */
export function proposerContract(
  name: string,
  makeProposer: () => Proposer | Promise<Proposer>,
  options: Partial<ContractOptions> = {},
): void {
  const { vocabSize, maxNodes, maxDepth } = { ...DEFAULTS, ...options };
  const loop = (length: number, period = 5) => Array.from({ length }, (_, i) => 1 + (i % period));
  const noise = (length: number, seed: number) => Array.from({ length }, (_, i) => hash(seed, i) % vocabSize);

  describe(`proposer contract: ${name}`, () => {
    let proposer: Proposer;
    beforeEach(async () => {
      proposer = await makeProposer();
    });
    afterEach(() => proposer.close());

    function begin(id: string, tokenIds: readonly number[]): Known {
      proposer.begin(id, tokenIds);
      return { id, tokenIds: [...tokenIds] };
    }

    function emit({ id, tokenIds }: Known, emitted: readonly number[]): void {
      tokenIds.push(...emitted);
      proposer.observe(id, emitted);
    }

    const requestFor = ({ id, tokenIds }: Known, limits: Partial<ProposeRequest> = {}): ProposeRequest => ({
      ...{ id, tokenIds, maxNodes, maxDepth, target: NOTHING_COMPUTED },
      ...PLAIN,
      ...limits,
    });

    async function proposeAll(requests: readonly ProposeRequest[]): Promise<readonly DraftTree[]> {
      const roots = requests.map(({ tokenIds }) => tokenIds.at(-1));
      const trees = await proposer.propose(requests);
      expect(trees).toHaveLength(requests.length);
      for (const [i, tree] of trees.entries()) {
        checkDraftTree(tree);
        expect(tree.tokenIds[0]).toBe(roots[i]);
        expect(tree.tokenIds.length).toBeLessThanOrEqual(requests[i]?.maxNodes ?? 0);
        expect(Math.max(...tree.depths)).toBeLessThanOrEqual(requests[i]?.maxDepth ?? -1);
        expect(Math.max(...tree.tokenIds)).toBeLessThan(vocabSize);
      }
      return trees;
    }

    async function propose(known: Known, limits: Partial<ProposeRequest> = {}): Promise<DraftTree> {
      const [tree] = await proposeAll([requestFor(known, limits)]);
      if (tree === undefined) throw new Error("no tree");
      return tree;
    }

    test("says what it is", () => {
      expect(proposer.name).toMatch(/^[a-z0-9-]+(,[a-z0-9-]+)*$/);
    });

    test("an empty batch gives no tree", async () => {
      expect(await proposer.propose([])).toEqual([]);
    });

    test.each([
      { what: "one node", limits: { maxNodes: 1 } },
      { what: "depth 0", limits: { maxDepth: 0 } },
      { what: "one node at depth 0, as while a prompt is computed", limits: { maxNodes: 1, maxDepth: 0 } },
    ])("$what: the root alone, again and again", async ({ limits }) => {
      const known = begin("a", loop(30));
      for (let step = 0; step < 3; step++) {
        expect(await propose(known, limits)).toEqual({ tokenIds: [5], parents: [-1], probs: [1], depths: [0] });
      }
    });

    test.each([
      { maxNodes: 2, maxDepth: 1 },
      { maxNodes: 2 },
      { maxDepth: 1 },
      { maxNodes: 3, maxDepth: 2 },
      { maxDepth: 2 * maxDepth, maxNodes: 4 },
    ])("limits %o hold from step to step, greedy and sampling", async (limits) => {
      const known = begin("a", loop(20));
      await propose(known, limits);
      emit(known, [1]);
      await propose(known, { ...limits, ...WARM_CHOICE });
    });

    test("a prompt of one token", async () => {
      const known = begin("a", [3]);
      await propose(known);
      emit(known, [4]);
      await propose(known);
    });

    test("everything rejected, step after step", async () => {
      const known = begin("a", loop(20));
      for (let step = 0; step < 4; step++) {
        const tree = await propose(known);
        const children = new Set(tree.tokenIds.filter((_, node) => tree.parents[node] === 0));
        const other = Array.from({ length: vocabSize }, (_, token) => token).find((token) => !children.has(token));
        emit(known, [other ?? 0]);
      }
    });

    test("everything accepted, down to the deepest node", async () => {
      const known = begin("a", loop(40));
      for (let step = 0; step < 4; step++) {
        const tree = await propose(known);
        const deepest = tree.depths.indexOf(Math.max(...tree.depths));
        const accepted = pathOf(tree, deepest).map((node) => tree.tokenIds[node] ?? 0);
        emit(known, [...accepted, known.tokenIds.length % vocabSize]);
      }
      expect(known.tokenIds.length).toBeGreaterThanOrEqual(44);
    });

    test("the text ends inside the accepted run: fewer tokens than accepted, then the end", async () => {
      const known = begin("a", loop(30));
      await propose(known);
      proposer.end("a");
      expect((await propose(known)).tokenIds).toEqual([5]);
      await propose(begin("a", noise(10, 1)));
    });

    test("end tokens within a prompt, as in chats, and at its end", async () => {
      const known = begin("a", [1, 2, 0, 1, 2, 0, 1, 2, 0]);
      await propose(known);
      emit(known, [1, 2, 0]);
      await propose(known);
    });

    test("the end while a proposal is pending: the tree is the old text's; the id begins anew", async () => {
      const old = begin("a", loop(20));
      const other = begin("b", loop(21));
      const pending = proposeAll([requestFor(old), requestFor(other)]);
      proposer.end("a");
      const renewed = begin("a", noise(25, 3));
      await pending;
      const fresh = await makeProposer();
      try {
        fresh.begin("a", renewed.tokenIds);
        const expected = await fresh.propose([requestFor(renewed)]);
        expect([await propose(renewed)]).toEqual(expected);
        await propose(other);
      } finally {
        fresh.close();
      }
    });

    test("an unknown id: the root alone, and nothing to end or observe", async () => {
      proposer.end("a");
      proposer.observe("a", [1, 2]);
      const ended = begin("b", loop(20));
      proposer.end("b");
      proposer.end("b");
      proposer.observe("b", [1]);
      expect((await propose({ id: "a", tokenIds: loop(20) })).tokenIds).toEqual([5]);
      expect((await propose(ended)).tokenIds).toEqual([5]);
    });

    test("a batch gives each sequence its tree, in the order asked for", async () => {
      const known = [begin("a", loop(20)), begin("b", noise(33, 1)), begin("c", [7]), begin("d", loop(18))];
      const limits = [{}, WARM_CHOICE, { maxNodes: 1 }, { maxNodes: 3 }];
      const requests = known.map((one, i) => requestFor(one, limits[i]));
      const trees = await proposeAll(requests);
      expect(await proposeAll(requests.toReversed())).toEqual(trees.toReversed());
      expect(await proposeAll(requests.slice(1, 2))).toEqual(trees.slice(1, 2));
    });

    test("the request is left as it was", async () => {
      const known = begin("a", loop(20));
      const request = Object.freeze({ ...requestFor(known), tokenIds: Object.freeze([...known.tokenIds]) });
      await proposeAll([request]);
      expect(request.tokenIds).toEqual(loop(20));
    });

    test("equal calls give equal trees, while sequences come, grow and go", async () => {
      const first = await play(proposer);
      const second = await makeProposer();
      try {
        expect(await play(second)).toEqual(first);
      } finally {
        second.close();
      }
    });

    /** Twelve steps of a small server; the target goes the draft's way half of the time. */
    async function play(player: Proposer): Promise<DraftTree[]> {
      const alive: Known[] = [];
      const trees: DraftTree[] = [];
      for (let step = 0; step < 12; step++) {
        if (step % 2 === 0 && alive.length < 3) {
          const known = { id: `s${step % 3}${alive.length}`, tokenIds: step % 4 === 0 ? loop(12) : noise(9, step) };
          if (alive.every(({ id }) => id !== known.id)) {
            player.begin(known.id, known.tokenIds);
            alive.push(known);
          }
        }
        const round = await player.propose(alive.map((known) => requestFor(known, step % 3 ? {} : WARM_CHOICE)));
        for (const [i, known] of alive.entries()) {
          const tree = round[i];
          if (tree === undefined) throw new Error("no tree");
          checkDraftTree(tree);
          const sampled = tree.tokenIds.map((_, node) => {
            const likely = tree.tokenIds[tree.parents.indexOf(node)];
            return hash(step, i, node) % 2 ? (likely ?? 1) : hash(step, node) % vocabSize;
          });
          const { tokenIds } = walkTree(tree, sampled);
          known.tokenIds.push(...tokenIds);
          player.observe(known.id, tokenIds);
        }
        trees.push(...round);
        if (step % 5 === 4) player.end(alive.shift()?.id ?? "");
      }
      for (const { id } of alive) player.end(id);
      return trees;
    }
  });
}
