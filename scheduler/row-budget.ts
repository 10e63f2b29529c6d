/** What of a sequence the division of rows looks at. */
interface Pending {
  /** Known tokens without final K/V, at least 1. */
  readonly numPendingTokens: number;
}

/**
 * Divides a step's rows: first one for every decode (one pending token), so that prompts never hold up running
 * streams, then prefill chunks in order of arrival. Returns the rows of each sequence, in the order given.
 */
export function assignRows(sequences: readonly Pending[], tokenBudget: number): number[] {
  const rows = sequences.map(({ numPendingTokens }) => (numPendingTokens === 1 ? 1 : 0));
  let numLeft = tokenBudget - rows.reduce((sum, n) => sum + n, 0);
  for (const [i, { numPendingTokens }] of sequences.entries()) {
    if (numPendingTokens === 1) continue;
    const chunk = Math.min(numPendingTokens, numLeft);
    rows[i] = chunk;
    numLeft -= chunk;
  }
  return rows;
}

/** The next sequence's equal share of what is left, rounded up: when rows are few, who came first drafts. */
export function equalShare(numLeft: number, numSharers: number): number {
  return Math.ceil(numLeft / numSharers);
}
