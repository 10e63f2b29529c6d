import { invariant } from "../../kvcache/invariant.ts";
import { type DraftTree, siblingRanks } from "./draft-tree.ts";
import type { Candidate, FrontierNode } from "./tree-builder.ts";

/**
 * A draft tree without its tokens: node i is its parent's `ranks[i]`-th choice, the first being 0. Parallel arrays, one entry a
 * node; node 0 is the root, parents precede their children, and a node's children have ranks 0, 1, 2, … in order.
 */
export interface TreeShape {
  /** −1 for the root. */
  readonly parents: readonly number[];
  readonly ranks: readonly number[];
  /** Edges to the root. */
  readonly depths: readonly number[];
}

/** Every node at depth d has `branching[d]` children. Level by level. */
export function regularShape(branching: readonly number[]): TreeShape {
  const shape = { parents: [-1], ranks: [0], depths: [0] };
  for (let node = 0; node < shape.parents.length; node++) {
    const depth = shape.depths[node] ?? 0;
    for (let rank = 0; rank < (branching[depth] ?? 0); rank++) {
      shape.parents.push(node);
      shape.ranks.push(rank);
      shape.depths.push(depth + 1);
    }
  }
  return shape;
}

/** What is left where there is room for so many nodes alone. */
export function firstNodes({ parents, ranks, depths }: TreeShape, maxNodes: number): TreeShape {
  return {
    parents: parents.slice(0, maxNodes),
    ranks: ranks.slice(0, maxNodes),
    depths: depths.slice(0, maxNodes),
  };
}

export function shapeDepth({ depths }: TreeShape): number {
  return Math.max(...depths);
}

/** Most children of a node. */
export function shapeTopK({ ranks, parents }: TreeShape): number {
  return parents.length === 1 ? 0 : 1 + Math.max(...ranks);
}

/** Most nodes that have children, of those of one depth below the root. */
export function shapeWidth({ parents, depths }: TreeShape): number {
  const counts = new Map<number, number>();
  for (const parent of new Set(parents)) {
    const depth = depths[parent] ?? 0;
    if (depth > 0) counts.set(depth, (counts.get(depth) ?? 0) + 1);
  }
  return Math.max(0, ...counts.values());
}

/** u32 [maxNodes, topK]: the child of each node and rank, 0 where there is none. @throws RangeError where the shape has more */
export function shapeChildren({ parents, ranks }: TreeShape, maxNodes: number, topK: number): Uint32Array<ArrayBuffer> {
  if (parents.length > maxNodes || ranks.some((rank) => rank >= topK)) {
    throw new RangeError(
      `a shape of ${parents.length} nodes does not fit ${maxNodes} nodes with ${topK} children each`,
    );
  }
  const children = new Uint32Array(maxNodes * topK);
  for (let node = 1; node < parents.length; node++) {
    children[(parents[node] ?? 0) * topK + (ranks[node] ?? 0)] = node;
  }
  return children;
}

/** Nodes of a tree that have a place in the shape, by the order of siblings; the root among them. */
export function fitShape({ parents }: DraftTree, shape: TreeShape): Set<number> {
  const children: number[][] = shape.parents.map(() => []);
  for (const [place, parent] of shape.parents.entries()) {
    const siblings = children[parent];
    if (siblings) siblings[shape.ranks[place] ?? 0] = place;
  }
  const places = new Map([[0, 0]]);
  const ranks = siblingRanks({ parents });
  for (let node = 1; node < parents.length; node++) {
    const above = places.get(parents[node] ?? 0);
    const place = above === undefined ? undefined : children[above]?.[ranks[node] ?? 0];
    if (place !== undefined) places.set(node, place);
  }
  return new Set(places.keys());
}

/**
 * Grows a tree of a given shape, level by level, in the way of `DynamicTreeBuilder`: a node takes its parent's candidate of its rank.
 * Where a node has too few candidates, the rest of its children are left out, and what would have been below them.
 */
export class StaticTreeBuilder {
  readonly #shape: TreeShape;
  readonly #rootTokenId: number;
  readonly #maxNodes: number;
  readonly #maxDepth: number;
  /** The shape's nodes that have a token so far, and what is known of them. */
  readonly #found = new Map<number, { readonly tokenId: number; readonly prob: number }>();
  readonly #expanded: FrontierNode[] = [];
  readonly #expandedIds = new Map<number, number>();
  #level: readonly number[];

  /** @param limits nodes of the shape beyond them are left out, the last ones first */
  constructor(
    shape: TreeShape,
    limits: { readonly rootTokenId: number; readonly maxNodes: number; readonly maxDepth: number },
  ) {
    this.#shape = shape;
    this.#rootTokenId = limits.rootTokenId;
    this.#maxNodes = limits.maxNodes;
    this.#maxDepth = limits.maxDepth;
    this.#found.set(0, { tokenId: limits.rootTokenId, prob: 1 });
    this.#level = this.#open([0]);
  }

  get done(): boolean {
    return this.#level.length === 0;
  }

  frontier(): readonly FrontierNode[] {
    return this.#level.length === 0 ? [] : this.#expanded.slice(-this.#level.length);
  }

  expanded(): readonly FrontierNode[] {
    return this.#expanded;
  }

  expand(candidates: readonly (readonly Candidate[])[]): void {
    invariant(candidates.length === this.#level.length, "static tree: one list of candidates for each frontier node");
    const found: number[] = [];
    for (const [i, parent] of this.#level.entries()) {
      const distinct = [...new Map((candidates[i] ?? []).map((one) => [one.tokenId, one])).values()];
      for (const node of this.#children(parent)) {
        const candidate = distinct[this.#shape.ranks[node] ?? 0];
        if (candidate === undefined || !(candidate.logSurvival > -Infinity)) continue;
        this.#found.set(node, { tokenId: candidate.tokenId, prob: Math.exp(Math.min(0, candidate.logSurvival)) });
        found.push(node);
      }
    }
    this.#level = this.#open(found);
  }

  build(): DraftTree {
    const nodes = [...this.#found.keys()].sort((a, b) => a - b);
    const places = new Map(nodes.map((node, place) => [node, place]));
    return {
      tokenIds: nodes.map((node) => this.#found.get(node)?.tokenId ?? this.#rootTokenId),
      parents: nodes.map((node) => places.get(this.#shape.parents[node] ?? -1) ?? -1),
      probs: nodes.map((node) => this.#found.get(node)?.prob ?? 1),
      depths: nodes.map((node) => this.#shape.depths[node] ?? 0),
    };
  }

  /** Of those nodes, the ones that have children: they are the next frontier. */
  #open(nodes: readonly number[]): number[] {
    const inner = nodes.filter((node) => this.#children(node).length > 0);
    for (const node of inner) {
      const { tokenId = this.#rootTokenId } = this.#found.get(node) ?? {};
      const parent = this.#expandedIds.get(this.#shape.parents[node] ?? -1) ?? -1;
      const id = this.#expanded.push({
        id: this.#expanded.length,
        tokenId,
        parent,
        depth: this.#shape.depths[node] ?? 0,
      });
      this.#expandedIds.set(node, id - 1);
    }
    return inner;
  }

  #children(node: number): number[] {
    const { parents, depths } = this.#shape;
    const isWithin = (child: number) => child < this.#maxNodes && (depths[child] ?? 0) <= this.#maxDepth;
    return parents.flatMap((parent, child) => (parent === node && isWithin(child) ? [child] : []));
  }
}
