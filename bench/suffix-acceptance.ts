import { GREEDY } from "../engine/sampling-params.ts";
import { childOf } from "../engine/speculative/draft-tree.ts";
import { SuffixProposer } from "../engine/speculative/suffix.ts";
import type { ModelText } from "../engine/text/model-text.ts";
import type { Exchange } from "./suffix-texts.ts";

export interface AcceptanceFigures {
  readonly numTokens: number;
  readonly numSteps: number;
  /** Tokens a step. */
  readonly acceptanceLength: number;
}

/**
 * How far look-up drafts get where the answers are as written: what a model gains from it that gives them. The bundled model is too
 * small to edit a text. One drafter for all exchanges in turn, so that answers are found again by later ones.
 */
export async function suffixAcceptance(
  text: ModelText,
  exchanges: readonly Exchange[],
  limits: { readonly maxNodes: number; readonly maxDepth: number },
): Promise<AcceptanceFigures> {
  const proposer = new SuffixProposer();
  let [numTokens, numSteps] = [0, 0];
  for (const [i, { messages, answer }] of exchanges.entries()) {
    const id = String(i);
    const tokenIds = [...text.encodeChat([...messages])];
    const rest = [...text.encodeAnswer(answer)];
    numTokens += rest.length;
    proposer.begin(id, tokenIds);
    while (rest.length > 0) {
      const target = { blockTable: [], numComputedTokens: tokenIds.length - 1 };
      const [tree] = await proposer.propose([{ id, tokenIds, choice: 0, params: GREEDY, target, ...limits }]);
      if (tree === undefined) throw new Error("no tree");
      const child = childOf(tree);
      let node: number | undefined = 0;
      let numEmitted = 0;
      while (node !== undefined && numEmitted < rest.length) node = child(node, rest[numEmitted++] ?? 0);
      const emitted = rest.splice(0, numEmitted);
      tokenIds.push(...emitted);
      proposer.observe(id, emitted);
      numSteps++;
    }
    proposer.end(id);
  }
  proposer.close();
  return { numTokens, numSteps, acceptanceLength: numTokens / numSteps };
}
