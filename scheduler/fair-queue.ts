import { invariant } from "../kvcache/invariant.ts";
import type { SequenceState } from "./sequence.ts";

/** One caller's sequences of one priority. */
interface Account {
  /** Tokens that it has been served: its virtual token counter. */
  numServed: number;
  /** In order of arrival. */
  readonly waiting: SequenceState[];
  numRunning: number;
}

/**
 * Who comes next. Lower priority values first; within a priority the caller that has been served the fewest tokens; of its
 * sequences the one that came first. A caller that comes back after it had nothing waiting starts where the others are, so
 * that no one saves up time: the virtual token counter of Sheng et al. (arXiv 2401.00588, algorithm 2). Counted are known
 * tokens as a sequence first joins the batch, without those of the prefix cache, and then each token that it generates.
 * What a preempted sequence computes again is not counted again.
 */
export class FairQueue {
  readonly #levels = new Map<number, Level>();
  #numWaiting = 0;

  get numWaiting(): number {
    return this.#numWaiting;
  }

  /** Those that wait, in no particular order. */
  waiting(): readonly SequenceState[] {
    return [...this.#levels.values()].flatMap((level) => level.waiting());
  }

  add(sequence: SequenceState): void {
    const { priority } = sequence;
    const level = this.#levels.get(priority) ?? new Level();
    this.#levels.set(priority, level);
    level.add(sequence);
    this.#numWaiting++;
  }

  /** Who is to be let in next; undefined where no one waits. */
  next(): SequenceState | undefined {
    const levels = [...this.#levels].sort(([a], [b]) => a - b);
    for (const [, level] of levels) {
      const next = level.next();
      if (next !== undefined) return next;
    }
    return undefined;
  }

  /** A sequence that waited is in the batch; numComputedTokens says what the prefix cache had of it. */
  letIn(sequence: SequenceState): void {
    this.#level(sequence).letIn(sequence);
    this.#numWaiting--;
  }

  /** A sequence of the batch waits again. */
  putBack(sequence: SequenceState): void {
    this.#level(sequence).putBack(sequence);
    this.#numWaiting++;
  }

  /** A sequence has ended. @param wasRunning it was in the batch, and did not wait */
  remove(sequence: SequenceState, wasRunning: boolean): void {
    const level = this.#level(sequence);
    level.remove(sequence, wasRunning);
    if (!wasRunning) this.#numWaiting--;
    if (level.isEmpty) this.#levels.delete(sequence.priority);
  }

  /** Tokens that a sequence of the batch has generated. */
  charge(sequence: SequenceState, numTokens: number): void {
    this.#level(sequence).charge(sequence, numTokens);
  }

  /** Sorts sequences of the batch by whose turn it is. */
  compare(a: SequenceState, b: SequenceState): number {
    if (a.priority !== b.priority) return a.priority - b.priority;
    return this.#level(a).compare(a, b);
  }

  /** @throws InvariantError unless each account holds what waits and counts what runs. */
  checkIntegrity(running: readonly SequenceState[]): void {
    const numWaiting = this.waiting().length;
    invariant(numWaiting === this.#numWaiting, () => `${numWaiting} sequences wait, ${this.#numWaiting} are counted`);
    for (const [priority, level] of this.#levels) {
      level.checkIntegrity(running.filter((sequence) => sequence.priority === priority));
    }
    for (const { id, priority } of running) {
      invariant(this.#levels.has(priority), () => `${id} runs, but its priority ${priority} is unknown`);
    }
  }

  #level({ id, priority }: SequenceState): Level {
    const level = this.#levels.get(priority);
    invariant(level !== undefined, () => `${id}: no sequence of priority ${priority} is known`);
    return level;
  }
}

/** The callers of one priority. */
class Level {
  readonly #accounts = new Map<string, Account>();
  /** Whose last waiting sequence was let in most recently. */
  #lastLetIn: Account | undefined;

  get isEmpty(): boolean {
    return [...this.#accounts.values()].every(isIdle);
  }

  waiting(): readonly SequenceState[] {
    return [...this.#accounts.values()].flatMap(({ waiting }) => waiting);
  }

  add(sequence: SequenceState): void {
    const start = this.#start();
    const account = this.#accounts.get(sequence.caller) ?? this.#open(sequence.caller, start);
    if (account.waiting.length === 0) account.numServed = Math.max(account.numServed, start);
    account.waiting.push(sequence);
  }

  next(): SequenceState | undefined {
    const heads = [...this.#accounts.values()].flatMap(({ waiting }) => waiting.slice(0, 1));
    return heads.length === 0 ? undefined : heads.reduce((best, head) => (this.compare(head, best) < 0 ? head : best));
  }

  letIn(sequence: SequenceState): void {
    const account = this.#account(sequence);
    removeFrom(account.waiting, sequence);
    account.numRunning++;
    if (account.waiting.length === 0) this.#lastLetIn = account;
    account.numServed += Math.max(0, sequence.numTokens - Math.max(sequence.numSettled, sequence.numComputedTokens));
    sequence.numSettled = sequence.numTokens;
  }

  putBack(sequence: SequenceState): void {
    const account = this.#account(sequence);
    account.numRunning--;
    const later = account.waiting.findIndex(({ arrival }) => arrival > sequence.arrival);
    account.waiting.splice(later < 0 ? account.waiting.length : later, 0, sequence);
  }

  remove(sequence: SequenceState, wasRunning: boolean): void {
    const account = this.#account(sequence);
    if (wasRunning) account.numRunning--;
    else removeFrom(account.waiting, sequence);
  }

  charge(sequence: SequenceState, numTokens: number): void {
    this.#account(sequence).numServed += numTokens;
    sequence.numSettled += numTokens;
  }

  compare(a: SequenceState, b: SequenceState): number {
    return this.#account(a).numServed - this.#account(b).numServed || a.arrival - b.arrival;
  }

  checkIntegrity(running: readonly SequenceState[]): void {
    for (const [caller, { waiting, numRunning, numServed }] of this.#accounts) {
      const numFound = running.filter((sequence) => sequence.caller === caller).length;
      invariant(
        numFound === numRunning,
        () => `caller ${caller}: ${numFound} sequences run, ${numRunning} are counted`,
      );
      invariant(Number.isSafeInteger(numServed) && numServed >= 0, () => `caller ${caller} was served ${numServed}`);
      let latest = -1;
      for (const { id, arrival } of waiting) {
        invariant(arrival > latest, () => `${id} waits out of order of arrival`);
        latest = arrival;
      }
    }
  }

  /** Where a caller begins that had nothing waiting: with the least served of those that wait, or of late did. */
  #start(): number {
    const served = [...this.#accounts.values()].flatMap(({ waiting, numServed }) =>
      waiting.length > 0 ? [numServed] : [],
    );
    return served.length > 0 ? Math.min(...served) : (this.#lastLetIn?.numServed ?? 0);
  }

  /** Forgets callers that would begin at `start` if they came back, so that there are never many. */
  #open(caller: string, start: number): Account {
    for (const [other, account] of this.#accounts) {
      if (isIdle(account) && account.numServed <= start) this.#accounts.delete(other);
    }
    const account = { numServed: start, waiting: [], numRunning: 0 };
    this.#accounts.set(caller, account);
    return account;
  }

  #account({ id, caller }: SequenceState): Account {
    const account = this.#accounts.get(caller);
    invariant(account !== undefined, () => `${id}: no sequence of its caller is known`);
    return account;
  }
}

function isIdle({ waiting, numRunning }: Account): boolean {
  return waiting.length + numRunning === 0;
}

function removeFrom(queue: SequenceState[], sequence: SequenceState): void {
  const index = queue.indexOf(sequence);
  invariant(index >= 0, () => `${sequence.id} is ${sequence.status}, but does not wait`);
  queue.splice(index, 1);
}
