import { type DraftTree, rootOnly } from "./draft-tree.ts";
import type { Hints, ProposeRequest, Proposer } from "./proposer.ts";
import { SharedTexts } from "./shared-texts.ts";
import { MAX_MATCH, SuffixIndex, TEXT_END } from "./suffix-index.ts";
import { growSuffixTree } from "./suffix-tree.ts";

/** A sequence under way. */
interface Known {
  readonly salt: string;
  /** Its prediction, if there is one, then its prompt and output. */
  readonly index: SuffixIndex;
  readonly outputTokenIds: number[];
}

/**
 * Proposes what followed the text's last tokens where they stood before: in the sequence itself, prompt and output, or in the
 * outputs of others that have ended. As SuffixDecoding does (arXiv 2411.04975), all places with the longest match vote, the
 * tree takes the continuations that are most likely by frequency, and of the two structures the one counts that promises more
 * accepted tokens. Needs no model; good where text repeats itself, such as in edits of code and in quotes.
 */
export class SuffixProposer implements Proposer {
  readonly name = "suffix";
  readonly #known = new Map<string, Known>();
  readonly #shared: SharedTexts;

  constructor(shared = new SharedTexts()) {
    this.#shared = shared;
  }

  /** A prediction counts as what followed this prompt once before: it is drafted from the answer's first token on. */
  begin(id: string, tokenIds: readonly number[], { prediction = [], cacheSalt = "" }: Hints = {}): void {
    const index = new SuffixIndex();
    if (prediction.length > 0) index.append([...tokenIds.slice(-MAX_MATCH), ...prediction, TEXT_END]);
    index.append(tokenIds);
    this.#known.set(id, { salt: cacheSalt, index, outputTokenIds: [] });
  }

  async propose(requests: readonly ProposeRequest[]): Promise<readonly DraftTree[]> {
    return requests.map((request) => {
      const known = this.#known.get(request.id);
      return known === undefined ? rootOnly(request.tokenIds.at(-1) ?? 0) : this.#tree(known, request);
    });
  }

  observe(id: string, tokenIds: readonly number[]): void {
    const known = this.#known.get(id);
    known?.index.append(tokenIds);
    known?.outputTokenIds.push(...tokenIds);
  }

  end(id: string): void {
    const known = this.#known.get(id);
    if (known === undefined) return;
    this.#known.delete(id);
    if (known.outputTokenIds.length > 0) this.#shared.add(known.salt, known.outputTokenIds);
  }

  close(): void {
    this.#known.clear();
  }

  /** The structure with the higher score, then the longer match, then the sequence's own. */
  #tree({ salt, index }: Known, request: ProposeRequest): DraftTree {
    const own = growSuffixTree(index, request.tokenIds, request);
    const others = this.#shared.of(salt);
    if (others === undefined) return own.tree;
    const theirs = growSuffixTree(others, request.tokenIds, request);
    const isTheirs = theirs.score > own.score || (theirs.score === own.score && theirs.matchLen > own.matchLen);
    return isTheirs ? theirs.tree : own.tree;
  }
}
