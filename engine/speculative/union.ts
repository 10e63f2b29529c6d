import type { DeviceDrafting } from "../resident/device-drafting.ts";
import { UnionDrafter } from "../resident/union-drafter.ts";
import { keepNodes } from "./budget/cut-trees.ts";
import { type DraftTree, rootOnly } from "./draft-tree.ts";
import type { Hints, KnownSequence, ProposeRequest, Proposer } from "./proposer.ts";
import { firstNodes, fitShape, type TreeShape } from "./tree-shape.ts";

/** Asks several drafters and lets the target verify one tree of all that they propose. */
export class UnionProposer implements Proposer {
  readonly name: string;
  readonly members: readonly Proposer[];

  /** @param members at least one; of equal estimates the earlier one's node comes first */
  constructor(members: readonly Proposer[]) {
    this.members = members;
    this.name = members.map(({ name }) => name).join(",");
  }

  /** Where all of them draft there. */
  get onDevice(): DeviceDrafting | undefined {
    const draftings = this.members.flatMap(({ onDevice }) => onDevice ?? []);
    if (draftings.length < this.members.length) return undefined;
    return {
      proposers: this.members.map(({ name }) => name),
      create: (gpu, lanes) => UnionDrafter.create(gpu, draftings, lanes),
    };
  }

  begin(id: string, tokenIds: readonly number[], hints?: Hints): void {
    for (const member of this.members) member.begin(id, tokenIds, hints);
  }

  /** Members draft side by side: all of them see the texts of this moment. */
  async propose(requests: readonly ProposeRequest[]): Promise<readonly DraftTree[]> {
    const roots = requests.map(({ tokenIds }) => tokenIds.at(-1) ?? 0);
    const proposals = await Promise.all(this.members.map((member) => member.propose(requests)));
    return requests.map(({ maxNodes, shape }, i) => {
      const trees = this.members.map(({ name }, member) => ({ name, tree: proposals[member]?.[i] }));
      const given = trees.flatMap(({ name, tree }) => (tree === undefined ? [] : [{ name, tree }]));
      return uniteTrees(roots[i] ?? 0, given, maxNodes, shape);
    });
  }

  observe(id: string, tokenIds: readonly number[]): void {
    for (const member of this.members) member.observe(id, tokenIds);
  }

  end(id: string): void {
    for (const member of this.members) member.end(id);
  }

  close(): void {
    for (const member of this.members) member.close();
  }

  checkIntegrity(sequences: readonly KnownSequence[]): void {
    for (const member of this.members) member.checkIntegrity?.(sequences);
  }
}

interface UnitedNode {
  readonly index: number;
  readonly tokenId: number;
  readonly parent: UnitedNode | undefined;
  readonly depth: number;
  readonly children: Map<number, UnitedNode>;
  readonly proposers: string[];
  /** The highest that a proposer gave it. */
  prob: number;
}

/**
 * One tree of the best nodes of several trees with the same root: a path that several of them have is there once, and each node
 * knows its proposers. Nodes come by falling estimate of survival, so that the tree is closed under ancestors: survival never
 * rises with depth, and of equal ones the parent was met first.
 * @param shape that the tree is to have, of its first `maxNodes` nodes: siblings have its places by that order, and what has none is left out
 */
export function uniteTrees(
  rootTokenId: number,
  trees: readonly { readonly name: string; readonly tree: DraftTree }[],
  maxNodes: number,
  shape?: TreeShape,
): DraftTree {
  const root = newNode(0, rootTokenId, undefined);
  root.prob = 1;
  const all = [root];
  for (const { name, tree } of trees) {
    const united: UnitedNode[] = [root];
    for (let node = 1; node < tree.tokenIds.length; node++) {
      const [tokenId = 0, parent = root] = [tree.tokenIds[node], united[tree.parents[node] ?? 0]];
      let own = parent.children.get(tokenId);
      if (own === undefined) {
        own = newNode(all.length, tokenId, parent);
        parent.children.set(tokenId, own);
        all.push(own);
      }
      own.prob = Math.max(own.prob, tree.probs[node] ?? 0);
      own.proposers.push(name);
      united.push(own);
    }
  }
  if (Math.min(maxNodes, all.length) <= 1) return rootOnly(rootTokenId);
  if (shape === undefined) return toTree(best(all, maxNodes));
  const tree = toTree(best(all, all.length));
  return keepNodes(tree, fitShape(tree, firstNodes(shape, maxNodes)));
}

function newNode(index: number, tokenId: number, parent: UnitedNode | undefined): UnitedNode {
  const depth = parent === undefined ? 0 : parent.depth + 1;
  return { index, tokenId, parent, depth, children: new Map(), proposers: [], prob: 0 };
}

function best(all: readonly UnitedNode[], maxNodes: number): UnitedNode[] {
  const scores: number[] = [];
  // Logs, rounded as on the device (wgsl/lane_unite.wgsl), so that both build the same tree.
  for (const { parent, prob } of all) {
    scores.push(parent === undefined ? 0 : Math.fround((scores[parent.index] ?? 0) + Math.fround(Math.log(prob))));
  }
  const compare = (a: UnitedNode, b: UnitedNode) => {
    const [one, other] = [scores[a.index] ?? 0, scores[b.index] ?? 0];
    return one === other ? a.index - b.index : other - one;
  };
  return all.toSorted(compare).slice(0, maxNodes);
}

function toTree(nodes: readonly UnitedNode[]): DraftTree {
  const places = new Map<UnitedNode | undefined, number>(nodes.map((node, place) => [node, place]));
  return {
    tokenIds: nodes.map(({ tokenId }) => tokenId),
    parents: nodes.map(({ parent }) => places.get(parent) ?? -1),
    probs: nodes.map(({ prob }) => prob),
    depths: nodes.map(({ depth }) => depth),
    proposers: nodes.map(({ proposers }) => proposers),
  };
}
