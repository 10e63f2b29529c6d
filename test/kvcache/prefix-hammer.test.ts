import { expect, test } from "vitest";
import { BlockManager } from "../../kvcache/block-manager.ts";
import { BLOCK_SIZE } from "../../kvcache/ids.ts";
import { Random } from "../support/random.ts";

const NUM_ROUNDS = Number(process.env.CANOPY_HAMMER_ROUNDS ?? 100_000);
const NUM_BLOCKS = 101;
const MAX_LIVE = 20;

interface Live {
  readonly id: string;
  readonly salt: string;
  readonly tokenIds: number[];
}

/** What one slot's K/V is a function of: the salt's owner, and every token up to its own. */
const contentOf = ({ salt, tokenIds }: Live, position: number) => `${salt}${tokenIds.slice(0, position + 1).join("")}`;

/** 100 blocks and sequences of two tokens: prefixes meet all the time, and memory is short. The storage holds what K/V would be of. */
class Hammer {
  readonly blocks = new BlockManager(NUM_BLOCKS, Uint8Array.of(9));
  numHits = 0;
  numRefused = 0;
  numShared = 0;
  numTails = 0;
  readonly #random: Random;
  readonly #storage = new Map<number, string>();
  readonly #live: Live[] = [];
  readonly #texts: number[][] = Array.from({ length: 10 }, () => []);
  #numAdded = 0;

  constructor(seed: number) {
    this.#random = new Random(seed);
  }

  round(): void {
    const random = this.#random;
    const kind = random.next();
    if (this.#live.length === 0 || (kind < 0.25 && this.#live.length < MAX_LIVE)) this.#add();
    else if (kind < 0.5) this.#compute(random.pick(this.#live));
    else if (kind < 0.8) this.#grow(random.pick(this.#live));
    else this.#end(random.pick(this.#live));
    this.blocks.checkIntegrity();
  }

  drain(): void {
    for (const one of [...this.#live]) this.#end(one);
    this.blocks.checkIntegrity();
  }

  /** New tokens after the beginning of an earlier text, or after nothing. */
  #add(): void {
    const random = this.#random;
    const text = random.pick(this.#texts);
    const tokenIds = text.slice(0, random.next() < 0.5 ? text.length : random.int(0, text.length));
    for (let i = random.int(1, 12); i > 0; i--) tokenIds.push(random.int(0, 1));
    const one = { id: `s${this.#numAdded++}`, salt: random.pick(["a", "b"]), tokenIds };
    const chain = this.blocks.hashChain(tokenIds, one.salt);
    if (!this.blocks.admit(one.id, chain, tokenIds.length, this.#live.length)) {
      this.numRefused++;
      return;
    }
    this.#live.push(one);
    const copies = this.blocks.adoptTail(one.id, tokenIds.length - 1);
    for (const { from, to } of copies) this.#storage.set(to, this.#storage.get(from) ?? "nothing");
    if (copies.length > 0) this.numTails++;
    const numCached = this.blocks.numComputedTokens(one.id);
    expect(numCached).toBeLessThan(tokenIds.length);
    if (numCached > 0) this.numHits++;
    this.#checkRead(one, numCached);
  }

  /** A chunk of known tokens, all but the last at most, after reading all that come before it. */
  #compute(one: Live): void {
    const from = this.blocks.numComputedTokens(one.id);
    const end = Math.min(one.tokenIds.length - 1, from + this.#random.int(1, 48));
    this.#checkRead(one, from);
    for (let position = from; position < end; position++) this.#write(one, position, contentOf(one, position));
    this.blocks.commit(one.id, Math.max(from, end));
    if (this.#random.next() < 0.3) this.blocks.adopt(one.id, one.tokenIds.length - 1);
    this.#checkRead(one, this.blocks.numComputedTokens(one.id));
  }

  /** Decodes with lookahead: slots are written that stay, and slots that are given back. */
  #grow(one: Live): void {
    const { id, tokenIds } = one;
    while (this.blocks.numComputedTokens(id) < tokenIds.length - 1) this.#compute(one);
    const [numLookahead, numAccepted] = [this.#random.int(0, 20), this.#random.int(0, 3)];
    const root = tokenIds.length - 1;
    if (!this.blocks.ensure(id, tokenIds.length + numLookahead + numAccepted)) {
      this.#end(one);
      return;
    }
    for (let i = 1; i <= numLookahead; i++) this.#write(one, root + i, "a draft");
    for (let i = 0; i <= numAccepted; i++) tokenIds.push(this.#random.int(0, 1));
    for (let position = root; position <= root + numAccepted; position++)
      this.#write(one, position, contentOf(one, position));
    this.blocks.commit(id, tokenIds.length - 1);
    this.blocks.trim(id, tokenIds.length);
    if (tokenIds.length > 200) this.#end(one);
  }

  #end(one: Live): void {
    this.#checkRead(one, this.blocks.numComputedTokens(one.id));
    this.blocks.free(one.id);
    this.#live.splice(this.#live.indexOf(one), 1);
    this.#texts[this.#random.int(0, 9)] = one.tokenIds;
  }

  /** No computed slot of another sequence is written: its K/V is as it was. */
  #write(one: Live, position: number, content: string): void {
    const slot = this.blocks.slot(one.id, position);
    const others = this.#live.filter((other) => other !== one);
    const block = Math.floor(slot / BLOCK_SIZE);
    expect(others.some(({ id }) => this.blocks.blockTable(id).some((held) => held === block))).toBe(false);
    this.#storage.set(slot, content);
  }

  #checkRead(one: Live, numComputed: number): void {
    for (let position = 0; position < numComputed; position += this.#random.int(1, 7)) {
      const found = this.#storage.get(this.blocks.slot(one.id, position));
      if (found !== contentOf(one, position)) expect.fail(`${one.id} reads ${found} at ${position}`);
    }
    const first = numComputed > 0 ? this.blocks.blockTable(one.id)[0] : undefined;
    this.numShared += this.#live.filter(
      (other) => other !== one && this.blocks.blockTable(other.id)[0] === first,
    ).length;
  }
}

test(`${NUM_ROUNDS} rounds: every sequence reads its own K/V, whoever computed it, and no block is lost`, () => {
  const hammer = new Hammer(5);
  for (let round = 0; round < NUM_ROUNDS; round++) hammer.round();
  hammer.drain();
  expect(hammer.blocks.usage).toBe(0);
  const { numHits, numRefused, numShared, numTails } = hammer;
  for (const [what, count] of Object.entries({ numHits, numRefused, numShared, numTails }))
    expect(count, what).toBeGreaterThan(NUM_ROUNDS / 200);
});
