import { toWellFormed } from "./well-formed.ts";

/** State of the automaton: the longest end of the text so far that begins a stop string. */
interface Node {
  readonly next: Map<number, Node>;
  /** Length of that end, in UTF-16 units. */
  readonly depth: number;
  /** The next shorter end that begins a stop string; the root has none. */
  fallback: Node | undefined;
  isStop: boolean;
}

/** Where a stop string ended: `end` units into the text just given, `length` units long. */
export interface StopMatch {
  readonly end: number;
  readonly length: number;
}

/**
 * Finds the first stop string to be completed in a text that comes in pieces, in amortized constant time a character
 * however many stops there are. Where two are completed by the same character, the longer one counts.
 * Source: Aho and Corasick, "Efficient string matching", 1975.
 */
export class StopMatcher {
  readonly #root: Node = { next: new Map(), depth: 0, fallback: undefined, isStop: false };
  #state = this.#root;

  /** Empty stop strings are left out; lone surrogates stand for U+FFFD, as they do in generated text. */
  constructor(stops: readonly string[]) {
    const wellFormed = [...new Set(stops.map(toWellFormed))].filter((stop) => stop !== "");
    // A stop with another one before its last character can never be the first to be completed, so its beginning is
    // no reason to hold back text. Without these, no stop ends inside another, and a state tells all there is to know.
    const isReachable = (stop: string): boolean => !wellFormed.some((other) => stop.slice(0, -1).includes(other));
    for (const stop of wellFormed.filter(isReachable)) this.#insert(stop);
    this.#linkFallbacks();
  }

  /** How many units at the end of the text may still become a stop string. */
  get numPending(): number {
    return this.#state.depth;
  }

  /** Reads on, up to the first stop that is completed. After a match nothing more may be read. */
  read(text: string): StopMatch | undefined {
    if (this.#root.next.size === 0) return undefined;
    for (let i = 0; i < text.length; i++) {
      this.#state = this.#step(this.#state, text.charCodeAt(i));
      if (this.#state.isStop) return { end: i + 1, length: this.#state.depth };
    }
    return undefined;
  }

  #step(from: Node, unit: number): Node {
    for (let node: Node | undefined = from; node; node = node.fallback) {
      const next = node.next.get(unit);
      if (next) return next;
    }
    return this.#root;
  }

  #insert(stop: string): void {
    let node = this.#root;
    for (let i = 0; i < stop.length; i++) {
      const unit = stop.charCodeAt(i);
      let next = node.next.get(unit);
      if (!next) {
        next = { next: new Map(), depth: i + 1, fallback: this.#root, isStop: false };
        node.next.set(unit, next);
      }
      node = next;
    }
    node.isStop = true;
  }

  /** Breadth first: a node's fallback is shorter than the node, so it is linked by the time it is needed. */
  #linkFallbacks(): void {
    const queue = [...this.#root.next.values()];
    for (const node of queue) {
      for (const [unit, child] of node.next) {
        if (node.fallback) child.fallback = this.#step(node.fallback, unit);
        queue.push(child);
      }
    }
  }
}
