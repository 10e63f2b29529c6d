/** A head's candidate: its token and the head's log share of it. */
export interface ReferenceCandidate {
  readonly tokenId: number;
  readonly logShare: number;
}

/**
 * Log shares of a head's candidates below a token, in f64 and in the head's own order: each has what the table adds to it, and all together
 * the share that they had.
 * @param affinity what the table adds to a candidate's log share
 */
export function medusaPathsReference(
  candidates: readonly ReferenceCandidate[],
  affinity: (tokenId: number) => number,
): number[] {
  const shares = candidates.map(({ logShare }) => Math.min(0, logShare));
  const scores = candidates.map(({ tokenId }, i) => (shares[i] ?? 0) + affinity(tokenId));
  const total = (logs: readonly number[]) => logs.reduce((sum, log) => sum + Math.exp(log), 0);
  const shift = Math.log(total(shares) / total(scores));
  return scores.map((score) => Math.min(0, score + shift));
}
