import { createHash, createHmac } from "node:crypto";
import { BLOCK_SIZE } from "./ids.ts";

/** Names the content of a full block: its tokens and all before them, under one salt. SHA-256, base64. */
export type BlockHash = string & { readonly __brand: "BlockHash" };

/**
 * The hashes of a sequence's full blocks, each computed when it is first asked for: hash i is over hash i − 1 and the
 * tokens of block i, and hash −1 over secret and salt. So equal hashes mean equal salt and equal tokens from the start on, and
 * whoever does not know the secret cannot make two prompts that collide, nor tell from a hash what it is of.
 */
export class HashChain {
  /** Known tokens: a live view that may grow, and never changes otherwise. */
  readonly tokenIds: readonly number[];
  readonly #root: string;
  readonly #hashes: BlockHash[] = [];

  /** @param salt texts of different salts share nothing, whatever their tokens */
  constructor(tokenIds: readonly number[], secret: Uint8Array, salt: string) {
    this.tokenIds = tokenIds;
    this.#root = createHmac("sha256", secret).update(salt).digest("base64");
  }

  /** Names all that stands before block `index`, and the salt; undefined unless all of those tokens are known. */
  before(index: number): string | undefined {
    return index === 0 ? this.#root : this.at(index - 1);
  }

  /** Hash of block `index`; undefined unless all of its tokens are known. */
  at(index: number): BlockHash | undefined {
    if ((index + 1) * BLOCK_SIZE > this.tokenIds.length) return undefined;
    for (let i = this.#hashes.length; i <= index; i++) {
      const tokenIds = Uint32Array.from(this.tokenIds.slice(i * BLOCK_SIZE, (i + 1) * BLOCK_SIZE));
      const hash = createHash("sha256").update(this.#hashes[i - 1] ?? this.#root);
      this.#hashes.push(hash.update(tokenIds).digest("base64") as BlockHash);
    }
    return this.#hashes[index];
  }
}
