import { describe, expect, test } from "vitest";
import { BlockManager } from "../../kvcache/block-manager.ts";
import { HashChain } from "../../kvcache/hash-chain.ts";
import { BLOCK_SIZE } from "../../kvcache/ids.ts";

const SECRET = Uint8Array.of(1, 2, 3);
const tokensOf = (length: number, first = 0) => Array.from({ length }, (_, i) => first + i);

/** Admits a sequence and says how many of its tokens were computed already. */
function admit(blocks: BlockManager, id: string, tokenIds: readonly number[], salt?: string): number {
  expect(blocks.admit(id, blocks.hashChain(tokenIds, salt), tokenIds.length, 0)).toBe(true);
  blocks.checkIntegrity();
  return blocks.numComputedTokens(id);
}

/** A sequence that comes, is computed but for its last token, and goes. */
function pass(blocks: BlockManager, id: string, tokenIds: readonly number[], salt?: string): number {
  const numCached = admit(blocks, id, tokenIds, salt);
  blocks.commit(id, tokenIds.length - 1);
  blocks.free(id);
  blocks.checkIntegrity();
  return numCached;
}

describe("hashes of blocks", () => {
  const hashesOf = (tokenIds: readonly number[], secret = SECRET, salt = "") => {
    const chain = new HashChain(tokenIds, secret, salt);
    return Array.from({ length: Math.floor(tokenIds.length / BLOCK_SIZE) }, (_, i) => chain.at(i));
  };

  test("depend on secret, salt, and every token up to the block's end, and on nothing else", () => {
    const tokenIds = tokensOf(48);
    const hashes = hashesOf(tokenIds);
    expect(new Set(hashes).size).toBe(3);
    expect(hashesOf([...tokenIds, 1, 2])).toEqual(hashes);
    expect(hashesOf(tokenIds.with(20, 99))).toEqual([hashes[0], expect.any(String), expect.any(String)]);
    const others = [
      hashesOf(tokenIds.with(20, 99)).slice(1),
      hashesOf(tokenIds, Uint8Array.of(4)),
      hashesOf(tokenIds, SECRET, "a"),
    ];
    for (const hash of others.flat()) expect(hashes).not.toContain(hash);
  });

  test("are there as soon as a live list has all tokens of a block, asked for in any order", () => {
    const live = tokensOf(31);
    const chain = new HashChain(live, SECRET, "");
    expect(chain.at(1)).toBeUndefined();
    live.push(31);
    expect(chain.at(1)).toBe(hashesOf(tokensOf(32))[1]);
    expect(chain.at(0)).toBe(hashesOf(tokensOf(32))[0]);
  });
});

describe("the prefix cache", () => {
  test("gives a sequence the very blocks of another that begins alike, while that runs and afterwards", () => {
    const blocks = new BlockManager(20, SECRET);
    admit(blocks, "a", tokensOf(50));
    blocks.commit("a", 49);
    expect(admit(blocks, "b", [...tokensOf(40), 7, 7])).toBe(32);
    expect(blocks.blockTable("b").slice(0, 2)).toEqual(blocks.blockTable("a").slice(0, 2));
    expect(blocks.blockTable("b").at(2)).not.toBe(blocks.blockTable("a").at(2));
    expect(blocks.numFreeBlocks).toBe(19 - 4 - 1);
    for (const id of ["a", "b"]) blocks.free(id);
    expect(blocks.usage).toBe(0);
    expect(admit(blocks, "c", tokensOf(50))).toBe(48);
  });

  test("leaves the last token to be computed, also where all blocks are cached", () => {
    const blocks = new BlockManager(20, SECRET);
    pass(blocks, "a", tokensOf(49));
    expect(pass(blocks, "b", tokensOf(48))).toBe(32);
    expect(pass(blocks, "c", tokensOf(49))).toBe(48);
  });

  test("holds full blocks of final K/V alone", () => {
    const blocks = new BlockManager(20, SECRET);
    admit(blocks, "a", tokensOf(50));
    blocks.commit("a", 31);
    blocks.free("a");
    expect(pass(blocks, "b", tokensOf(50))).toBe(16);
  });

  test("shares nothing between salts, and nothing at all without a secret", () => {
    const blocks = new BlockManager(20, SECRET);
    pass(blocks, "a", tokensOf(50), "tenant a");
    expect(pass(blocks, "b", tokensOf(50), "tenant b")).toBe(0);
    expect(pass(blocks, "c", tokensOf(50))).toBe(0);
    expect(pass(blocks, "d", tokensOf(50), "tenant a")).toBe(48);
    const off = new BlockManager(20);
    pass(off, "a", tokensOf(50));
    expect(pass(off, "b", tokensOf(50))).toBe(0);
  });

  test("gives up what was used longest ago, and of one text its end first", () => {
    const blocks = new BlockManager(8, SECRET);
    pass(blocks, "old", tokensOf(33));
    pass(blocks, "used", tokensOf(33, 100));
    pass(blocks, "old", tokensOf(33));
    // 7 blocks: two of each text are cached, and three are free.
    admit(blocks, "large", tokensOf(64, 500));
    blocks.free("large");
    expect(pass(blocks, "used", tokensOf(33, 100))).toBe(16);
    expect(pass(blocks, "old", tokensOf(33))).toBe(32);
  });

  test("a block that is found counts as taken: who needs more than the rest is not admitted, and nothing changes", () => {
    const blocks = new BlockManager(6, SECRET);
    pass(blocks, "a", tokensOf(48));
    const chain = blocks.hashChain(tokensOf(81));
    expect(blocks.admit("b", chain, 81, 0)).toBe(false);
    expect(blocks.admit("b", chain, 80, 1)).toBe(false);
    expect(blocks.has("b")).toBe(false);
    expect(blocks.numFreeBlocks).toBe(5);
    expect(blocks.admit("b", chain, 80, 0)).toBe(true);
    expect(blocks.numComputedTokens("b")).toBe(32);
    blocks.checkIntegrity();
  });

  test("makes who begins alike wait for the one that is about to compute it, but no longer", () => {
    const blocks = new BlockManager(20, SECRET);
    const tokenIds = tokensOf(40);
    admit(blocks, "a", tokenIds);
    const chain = blocks.hashChain(tokenIds);
    expect(blocks.admit("b", chain, 40, 0)).toBe(false);
    expect(admit(blocks, "c", tokensOf(40, 1))).toBe(0);
    blocks.commit("a", 16);
    expect(blocks.admit("b", chain, 40, 0)).toBe(false);
    blocks.commit("a", 32);
    expect(blocks.admit("b", chain, 40, 0)).toBe(false);
    expect(blocks.isUnderWay(chain, 40)).toBe(true);
    expect(admit(blocks, "d", [...tokensOf(38), 1, 1])).toBe(32);
    blocks.commit("a", 39);
    expect(admit(blocks, "b", tokenIds)).toBe(32);
    expect(admit(blocks, "e", tokensOf(15))).toBe(0);
  });

  test("copies the tail of who has computed all tokens but the last, into a block of its own", () => {
    for (const [length, numShared] of [
      [10, 0],
      [40, 32],
      [48, 32],
    ] as const) {
      const blocks = new BlockManager(20, SECRET);
      const tokenIds = tokensOf(length);
      admit(blocks, "a", tokenIds);
      blocks.ensure("a", length + 20);
      blocks.commit("a", length + 3);
      const slotsOf = (id: string) => tokensOf(length).map((index) => blocks.slot(id, index));
      const before = slotsOf("a");
      for (const id of ["b", "c"]) {
        expect(admit(blocks, id, tokenIds)).toBe(numShared);
        const moves = tokensOf(length - 1 - numShared, numShared).map((i) => ({
          from: blocks.slot("a", i),
          to: blocks.slot(id, i),
        }));
        expect(blocks.adoptTail(id, length - 1)).toEqual(moves);
        expect(blocks.numComputedTokens(id)).toBe(length - 1);
        expect(slotsOf(id).slice(0, numShared)).toEqual(before.slice(0, numShared));
        expect(slotsOf(id).filter((slot, i) => i >= numShared && before.includes(slot))).toEqual([]);
        expect(blocks.adoptTail(id, length - 1)).toEqual([]);
        blocks.checkIntegrity();
      }
      expect(slotsOf("a")).toEqual(before);
    }
  });

  test("copies no tail of other tokens, of another salt, that is not computed, or that is not to be trusted", () => {
    const blocks = new BlockManager(40, SECRET);
    const tokenIds = tokensOf(40);
    const tailOf = (id: string, ids: readonly number[], salt?: string) => {
      admit(blocks, id, ids, salt);
      return blocks.adoptTail(id, ids.length - 1).length;
    };
    admit(blocks, "a", tokenIds);
    blocks.commit("a", 39);
    expect(tailOf("same", tokenIds)).toBe(7);
    expect(tailOf("other end", tokenIds.with(39, 99))).toBe(7);
    expect(tailOf("other tail", tokenIds.with(38, 99))).toBe(0);
    expect(tailOf("other beginning", tokenIds.with(0, 99))).toBe(0);
    expect(tailOf("longer", [...tokenIds, 1, 1])).toBe(0);
    expect(tailOf("other salt", tokenIds, "x")).toBe(0);
    // A text without a full block: nothing but trust stands between its tail and a copy.
    const short = tokensOf(10, 500);
    admit(blocks, "short", short);
    blocks.commit("short", 9);
    expect(tailOf("short again", short)).toBe(9);
    for (const id of ["short", "short again"]) blocks.distrust(id);
    expect(tailOf("late", short)).toBe(0);
    blocks.checkIntegrity();
    const off = new BlockManager(20);
    admit(off, "a", tokenIds);
    off.commit("a", 39);
    admit(off, "b", tokenIds);
    expect(off.adoptTail("b", 39)).toEqual([]);
  });

  test("two sequences that computed the same keep their own blocks; one of them is found", () => {
    const blocks = new BlockManager(20, SECRET);
    const tokenIds = tokensOf(33);
    for (const id of ["a", "b"]) {
      blocks.open(id, blocks.hashChain(tokenIds));
      blocks.ensure(id, 33);
    }
    for (const id of ["a", "b"]) blocks.commit(id, 32);
    blocks.checkIntegrity();
    admit(blocks, "c", tokenIds);
    expect(blocks.blockTable("c").slice(0, 2)).toEqual(blocks.blockTable("a").slice(0, 2));
    for (const id of ["a", "b", "c"]) blocks.free(id);
    expect(blocks.usage).toBe(0);
    blocks.checkIntegrity();
  });

  test("what a table's tokens name only after they were computed is published when the table goes", () => {
    const blocks = new BlockManager(20, SECRET);
    const live = tokensOf(20);
    blocks.open("a", blocks.hashChain(live));
    blocks.ensure("a", 40);
    blocks.commit("a", 40);
    live.push(...tokensOf(40).slice(20));
    expect(admit(blocks, "b", tokensOf(40))).toBe(16);
    for (const id of ["a", "b"]) blocks.free(id);
    expect(admit(blocks, "c", tokensOf(40))).toBe(32);
  });

  test("what is known late is published before more is adopted, and when nothing is", () => {
    const blocks = new BlockManager(20, SECRET);
    const live = tokensOf(20);
    blocks.open("a", blocks.hashChain(live));
    blocks.ensure("a", 32);
    blocks.commit("a", 32);
    live.push(...tokensOf(40).slice(20));
    blocks.adopt("a", 39);
    expect(blocks.numComputedTokens("a")).toBe(32);
    expect(admit(blocks, "b", tokensOf(40))).toBe(32);
  });

  test("adopts in the middle of a text, at a block's edge and nowhere else", () => {
    const blocks = new BlockManager(20, SECRET);
    pass(blocks, "a", tokensOf(65));
    const mid = tokensOf(64);
    for (const [id, salt] of [
      ["b", "x"],
      ["c", "x"],
    ] as const) {
      blocks.open(id, blocks.hashChain(mid, salt));
      blocks.ensure(id, 16);
      blocks.commit(id, 16);
    }
    blocks.ensure("b", 64);
    blocks.commit("b", 64);
    blocks.ensure("c", 17);
    blocks.adopt("c", 63);
    expect(blocks.numComputedTokens("c")).toBe(16);
    blocks.trim("c", 16);
    blocks.adopt("c", 63);
    expect(blocks.numComputedTokens("c")).toBe(48);
    expect(blocks.blockTable("c").slice(1)).toEqual(blocks.blockTable("b").slice(1, 3));
    blocks.checkIntegrity();
  });

  test("forgets K/V that is not to be trusted, and learns nothing more from its sequence", () => {
    const blocks = new BlockManager(20, SECRET);
    admit(blocks, "a", tokensOf(50));
    blocks.commit("a", 33);
    expect(admit(blocks, "b", tokensOf(34))).toBe(32);
    blocks.distrust("a");
    blocks.commit("a", 49);
    blocks.checkIntegrity();
    expect(admit(blocks, "c", tokensOf(34))).toBe(0);
    for (const id of ["a", "b", "c"]) blocks.free(id);
    blocks.checkIntegrity();
    expect(pass(blocks, "d", tokensOf(50))).toBe(0);
  });
});
