import type { TreeShape } from "./tree-shape.ts";

/**
 * `acceptance[d][r]`: how often the target draws the r-th choice of a node at depth d, given that it got to the node. Siblings are
 * distinct tokens, so the sum over r is at most 1.
 */
export type SiblingRates = readonly (readonly number[])[];

/** Draft tokens that the walk accepts on average in trees of this shape. */
export function expectedAccepted({ parents, ranks, depths }: TreeShape, rates: SiblingRates): number {
  const survival = [1];
  for (let node = 1; node < parents.length; node++) {
    const rate = rates[(depths[node] ?? 1) - 1]?.[ranks[node] ?? 0] ?? 0;
    survival.push((survival[parents[node] ?? 0] ?? 0) * rate);
  }
  return survival.slice(1).reduce((sum, one) => sum + one, 0);
}

/**
 * The tree of at most so many nodes, root included, and no deeper than `maxDepth`, in which the most draft tokens are accepted.
 * Sequoia's dynamic programme (arXiv 2402.12374, section 4.1), with rates that may differ by depth: of n nodes below a node's
 * first b choices, the b-th choice and its descendants get as many as are best. O(depth · choices · nodes²).
 */
export function bestShape(rates: SiblingRates, maxNodes: number, maxDepth: number): TreeShape {
  const numDepths = Math.min(maxDepth, rates.length);
  const numBelow = Math.max(0, maxNodes - 1);
  /** By depth, rank and number of nodes: what the choices from that rank on are worth, and how many nodes that rank's choice gets. */
  const values: number[][][] = [];
  const shares: number[][][] = [];
  for (let depth = numDepths - 1; depth >= 0; depth--) {
    const row = rates[depth] ?? [];
    const below = values[depth + 1]?.[0];
    const worth: number[][] = Array.from({ length: row.length + 1 }, () => new Array<number>(numBelow + 1).fill(0));
    const share: number[][] = row.map(() => new Array<number>(numBelow + 1).fill(0));
    for (let rank = row.length - 1; rank >= 0; rank--) {
      for (let numNodes = 1; numNodes <= numBelow; numNodes++) {
        for (let own = 1; own <= numNodes; own++) {
          const value = (row[rank] ?? 0) * (1 + (below?.[own - 1] ?? 0)) + (worth[rank + 1]?.[numNodes - own] ?? 0);
          if (value <= (worth[rank]?.[numNodes] ?? 0)) continue;
          set(worth, rank, numNodes, value);
          set(share, rank, numNodes, own);
        }
      }
    }
    values[depth] = worth;
    shares[depth] = share;
  }
  return unfold(shares, numBelow);
}

/** The best shape by tokens a ms, where a tree of so many nodes and that depth takes `stepMs`. */
export function fastestShape(
  rates: SiblingRates,
  limits: { readonly maxNodes: number; readonly maxDepth: number },
  stepMs: (numNodes: number, depth: number) => number,
): TreeShape {
  let best: TreeShape = { parents: [-1], ranks: [0], depths: [0] };
  let bestRate = 1 / stepMs(1, 0);
  for (let depth = 1; depth <= limits.maxDepth; depth++) {
    for (let numNodes = 2; numNodes <= limits.maxNodes; numNodes++) {
      const shape = bestShape(rates, numNodes, depth);
      const rate = (1 + expectedAccepted(shape, rates)) / stepMs(shape.parents.length, Math.max(...shape.depths));
      if (rate > bestRate) [best, bestRate] = [shape, rate];
    }
  }
  return best;
}

/** The shape that the shares describe, parents first. */
function unfold(shares: readonly (readonly (readonly number[])[])[], numBelow: number): TreeShape {
  const shape = { parents: [-1], ranks: [0], depths: [0] };
  const open = [{ node: 0, numNodes: numBelow }];
  for (let next = open.shift(); next !== undefined; next = open.shift()) {
    const depth = shape.depths[next.node] ?? 0;
    let numLeft = next.numNodes;
    for (let rank = 0; numLeft > 0; rank++) {
      const own = shares[depth]?.[rank]?.[numLeft] ?? 0;
      if (own === 0) break;
      shape.parents.push(next.node);
      shape.ranks.push(rank);
      shape.depths.push(depth + 1);
      open.push({ node: shape.parents.length - 1, numNodes: own - 1 });
      numLeft -= own;
    }
  }
  return shape;
}

function set(table: number[][], row: number, column: number, value: number): void {
  const cells = table[row];
  if (cells !== undefined) cells[column] = value;
}
