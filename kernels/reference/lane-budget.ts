/**
 * How many nodes of each lane's tree stay, root included, where all trees share a budget: of all candidates the best ones, by falling
 * score, then by lane and node.
 * @param scores of each lane's nodes below the root, falling
 * @param budget candidates that stay at most
 */
export function laneBudgetReference(scores: readonly (readonly number[])[], budget: number): number[] {
  const candidates = scores.flatMap((ofLane, lane) => ofLane.map((score, i) => ({ lane, node: i + 1, score })));
  candidates.sort((a, b) => b.score - a.score || a.lane - b.lane || a.node - b.node);
  const kept = scores.map(() => 1);
  for (const { lane } of candidates.slice(0, budget)) kept[lane] = (kept[lane] ?? 1) + 1;
  return kept;
}
