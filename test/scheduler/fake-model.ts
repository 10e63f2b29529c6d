import type { BlockManager } from "../../kvcache/block-manager.ts";
import type { SlotId, SlotMove } from "../../kvcache/ids.ts";
import { numTreeSlots, type ScheduledSequence, type StepResult, type TreeLimits } from "../../scheduler/output.ts";
import type { Random } from "../support/random.ts";

export const VOCAB_SIZE = 40;

/** The "model": the next token is a pure function of all tokens before it. */
export function sampleNext(prefix: Iterable<number>): number {
  let hash = 0x811c9dc5;
  for (const tokenId of prefix) hash = Math.imul(hash ^ tokenId, 0x01000193) ^ (hash >>> 13);
  return (Math.imul(hash, 0x9e3779b1) >>> 0) % VOCAB_SIZE;
}

/** Decoding without cache, batch or drafts: the text that every schedule must produce. */
export function decodePlainly(
  prompt: readonly number[],
  {
    maxTokens,
    stopTokenIds,
    maxSequenceLen,
  }: Readonly<{ maxTokens: number; stopTokenIds: readonly number[]; maxSequenceLen: number }>,
): { readonly outputTokenIds: readonly number[]; readonly finishReason: "stop" | "length" } {
  const tokenIds = [...prompt];
  for (;;) {
    const tokenId = sampleNext(tokenIds);
    tokenIds.push(tokenId);
    const outputTokenIds = tokenIds.slice(prompt.length);
    if (stopTokenIds.includes(tokenId)) return { outputTokenIds, finishReason: "stop" };
    if (outputTokenIds.length === maxTokens || tokenIds.length === maxSequenceLen)
      return { outputTokenIds, finishReason: "length" };
  }
}

interface Node {
  readonly tokenId: number;
  readonly slot: SlotId;
  /** Path's slots by position, this node's last. */
  readonly pathSlots: readonly SlotId[];
  readonly children: Node[];
}

/**
 * K/V storage as the GPU has it: one value a slot, here the token id. Rows see a sequence only through the slots of
 * their path, so a slot that another sequence overwrote, or that was never computed, changes what is sampled.
 */
export class FakeModel {
  readonly #kv = new Map<SlotId, number>();
  readonly #blocks: BlockManager;
  /** Slots that the rows of the step write, to catch two rows in one slot. */
  readonly #written = new Set<SlotId>();

  constructor(blocks: BlockManager) {
    this.#blocks = blocks;
  }

  copy(moves: readonly SlotMove[]): void {
    for (const { from, to } of moves) {
      const value = this.#kv.get(from as SlotId);
      if (value === undefined) throw new Error(`slot ${from} is copied, but nothing was ever written there`);
      this.#kv.set(to as SlotId, value);
    }
  }

  beginStep(): void {
    this.#written.clear();
  }

  /** All rows of one sequence, draft nodes included. The result is undefined where nothing is sampled. */
  run(scheduled: ScheduledSequence, random: Random): StepResult | undefined {
    const { sequence, startPosition, numTokens, rootPosition } = scheduled;
    for (let position = startPosition; position < rootPosition; position++)
      this.#write(this.#slot(sequence.id, position), sequence.tokenIds[position] ?? -1);
    if (startPosition + numTokens === sequence.numTokens) return this.decode(scheduled, sequence.tokenIds, random);
    this.#write(this.#slot(sequence.id, rootPosition), sequence.tokenIds[rootPosition] ?? -1);
    return undefined;
  }

  /** The root and a tree below it. `tokenIds`: known tokens, of which the scheduler may not know the last ones yet. */
  decode({ sequence: { id }, ...limits }: ScheduledSequence, tokenIds: readonly number[], random: Random): StepResult {
    const pathSlots = tokenIds.map((_, position) => this.#slot(id, position));
    const slot = this.#slot(id, tokenIds.length - 1);
    const root: Node = { tokenId: tokenIds.at(-1) ?? -1, slot, pathSlots, children: [] };
    this.#write(slot, root.tokenId);
    this.#growTree(root, id, limits, random);
    return this.#walk(root, id);
  }

  /** Draft nodes below random parents; each guesses the right token or a wrong one. */
  #growTree(root: Node, id: string, limits: TreeLimits, random: Random) {
    const { maxDraftDepth } = limits;
    const rootPosition = root.pathSlots.length - 1;
    const nodes = [root];
    const numTries = random.int(0, numTreeSlots(limits));
    for (let i = 1; i <= numTries; i++) {
      const parent = random.next() < 0.6 ? (nodes.at(-1) ?? root) : random.pick(nodes);
      const depth = parent.pathSlots.length - root.pathSlots.length + 1;
      const tokenId = random.next() < 0.7 ? this.#sample(parent) : random.int(0, VOCAB_SIZE - 1);
      if (depth > maxDraftDepth || parent.children.some((sibling) => sibling.tokenId === tokenId)) continue;
      const slot = this.#slot(id, rootPosition + i);
      const node: Node = { tokenId, slot, pathSlots: [...parent.pathSlots, slot], children: [] };
      this.#write(slot, tokenId);
      parent.children.push(node);
      nodes.push(node);
    }
  }

  /** The target's walk, then the commit kernel: the accepted path's K/V moves to contiguous slots. */
  #walk(root: Node, id: string): StepResult {
    const tokenIds: number[] = [];
    const path: Node[] = [];
    for (let node: Node | undefined = root; node !== undefined; ) {
      const tokenId = this.#sample(node);
      tokenIds.push(tokenId);
      node = node.children.find((child) => child.tokenId === tokenId);
      if (node !== undefined) path.push(node);
    }
    for (const [i, node] of path.entries())
      this.#kv.set(this.#slot(id, root.pathSlots.length + i), this.#kv.get(node.slot) ?? -1);
    return { id, tokenIds, numAccepted: path.length };
  }

  #sample({ pathSlots }: Node): number {
    return sampleNext(pathSlots.map((slot) => this.#kv.get(slot) ?? -1));
  }

  #slot(seqId: string, index: number): SlotId {
    return this.#blocks.slot(seqId, index);
  }

  #write(slot: SlotId, tokenId: number): void {
    if (slot < 16) throw new Error(`slot ${slot} lies in the reserved block`);
    if (this.#written.has(slot)) throw new Error(`two rows of one step write slot ${slot}`);
    this.#written.add(slot);
    this.#kv.set(slot, tokenId);
  }
}
