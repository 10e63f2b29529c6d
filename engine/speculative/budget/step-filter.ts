import { Gusts } from "./gusts.ts";

/** What is left of how fast the machine is in the next step. */
const GUST_KEPT = 0.998;
/** A machine may have another speed from one step to the next, as where it has neighbours: how likely, and a standard deviation in log ratio. */
const JUMP_CHANCE = 0.01;
const JUMP = 0.5;
/** Steps of a kind that must have been seen before one that is far off may be a jump, and not what the kind takes. */
const KNOWN_STEPS = 8;
/** Most standard deviations that one step is believed to be off: what takes longer was something else. */
const MOST = 3;
/** What everything else moves by from one step to the next, as a standard deviation in log ratio: texts grow, and old knowledge fades. */
const WALK = 0.0005;
/**
 * What steps of a size take beyond what their parts say, and those with trees of so many nodes: start-up saw each number of rows a few times
 * only, and on two cores its times of 2, 3, 4, … rows beside that of one differ so much from one start to the next.
 */
const SPREADS = { size: 0.035, numNodes: 0.1 } as const;
/** The machine when a load is met, beside what was thought before. */
const FIRST_LEVEL = 0.3;
/** How sure parts are whose factors nobody has seen (all of them, each), and those that were seen at another load. */
const FIRST_SPREADS = { plain: 0.5, parts: [0.2, 1, 0.7] } as const;
const NEAR_SPREADS = { plain: 0.15, parts: [0.1, 0.2, 0.25] } as const;

/** Logs of factors: of plain steps, and of the parts of steps with trees. */
export interface Factors {
  readonly plain: number;
  readonly parts: readonly number[];
}

/** What a step was, and what its time consists of, in ms as far as start-up knows. */
export interface StepKind {
  /** Absent for a plain step: the one part is a pass then. */
  readonly size?: number;
  /** Of a tree, root included; absent likewise. */
  readonly numNodes?: number;
  readonly parts: readonly number[];
}

const [LEVEL, PLAIN, FIRST_PART] = [0, 1, 2];
const NUM_PARTS = FIRST_SPREADS.parts.length;
const FIRST_DEVIATION = FIRST_PART + NUM_PARTS;
/** What deviations are of. */
const DEVIATIONS = ["numNodes", "size"] as const;

/**
 * What steps of one load take, by an extended Kalman filter over logs: the machine's level, which is another one in every step, the
 * factor of plain steps, those of the parts of steps with trees, `Σ factor · part`, and by what each number of nodes and each size differ from
 * their parts.
 *
 * The level is what makes this a filter and no average: what a few steps of another size take is compared with the steps right before
 * and right after them, since they say where the level was, and what is always in use tells of the machine and not of itself.
 *
 * Once a kind is known, a step that is far off is rather a jump of the machine's. How likely that is widens what is thought of the level, so that
 * the level takes up the surprise and not the size: a machine that became twice as fast while sizes changed was taken for a size half as
 * dear, and hundreds of steps did not correct that.
 */
export class StepFilter {
  readonly #gusts = new Gusts();
  /** Where deviations are in the state, behind level, plain and parts: by what they are of. */
  readonly #places = { size: new Map<number, number>(), numNodes: new Map<number, number>() };
  /** Steps of each size, and plain ones, that were taken in. */
  readonly #numSeen = new Map<number | undefined, number>();
  readonly #mean: number[];
  /** By place and place, symmetric. */
  #covariance: Float64Array[];

  /** @param isSeen the factors are those of another load; else nobody has seen any */
  constructor(factors: Factors, isSeen: boolean) {
    const { plain, parts } = isSeen ? NEAR_SPREADS : FIRST_SPREADS;
    this.#mean = [0, factors.plain, ...factors.parts];
    // All factors err together, as far as start-up measured wrongly, and each by itself.
    const own = [0, 0, ...parts];
    this.#covariance = this.#mean.map((_, i) =>
      Float64Array.from(this.#mean, (_, j) => {
        if (i === LEVEL || j === LEVEL) return i === j ? FIRST_LEVEL ** 2 : 0;
        return plain ** 2 + (i === j ? (own[i] ?? 0) ** 2 : 0);
      }),
    );
  }

  get factors(): Factors {
    return { plain: this.#mean[PLAIN] ?? 0, parts: this.#mean.slice(FIRST_PART, FIRST_DEVIATION) };
  }

  /** In ms. */
  at(kind: StepKind): number {
    const { size, parts } = kind;
    const level = this.#mean[LEVEL] ?? 0;
    if (size === undefined) return (parts[0] ?? 0) * Math.exp(level + (this.#mean[PLAIN] ?? 0));
    return this.#sum(parts) * Math.exp(level + sumOver(this.#deviations(kind), this.#mean));
  }

  /** How sure the ratio of two kinds' times is: variance of its log. */
  variance(one: StepKind, other: StepKind): number {
    if (one.size === other.size) return 0;
    const shares = [...this.#shares(one), ...this.#shares(other).map(([place, share]): Share => [place, -share])];
    const variance = sumOver(shares, this.#spread(shares));
    return Math.max(0, variance) + this.#unseenVariance(one, other);
  }

  /** Of deviations that have no place yet, where they are not of both kinds. */
  #unseenVariance(one: StepKind, other: StepKind): number {
    let variance = 0;
    for (const what of DEVIATIONS) {
      if (one[what] === other[what]) continue;
      for (const { [what]: of } of [one, other]) {
        if (of !== undefined && !this.#places[what].has(of)) variance += SPREADS[what] ** 2;
      }
    }
    return variance;
  }

  /** Of what a look of so many steps shows of that, which steps of what is in use come before and after. */
  lookNoise(numSteps: number): number {
    const { gust, step } = this.#gusts.noise;
    return step / numSteps + (gust * numSteps) / 4;
  }

  /**
   * Takes in the time of a step, as the middle one of three in a row: what was believed of the first steps of a kind is not soon taken
   * back. One turn of linearizing: with more of them, a surprise that no factor explains ends at factors that nothing speaks for.
   */
  observe(kind: StepKind, stepMs: number): void {
    const ms = this.#gusts.observe(kind.size, stepMs);
    const noise = this.#gusts.noise;
    this.#age(noise.gust);
    if (ms === undefined) return;
    this.#addPlaces(kind);
    const shares = this.#shares(kind);
    const spread = this.#spread(shares);
    // The middle one may be the one before.
    const expected = sumOver(shares, spread) + noise.step + noise.gust;
    const surprise = Math.log(ms / this.at(kind));
    const jump = this.#isKnown(kind) ? chanceOfJump(surprise, expected) * JUMP ** 2 : 0;
    this.#addToLevel(jump);
    spread[LEVEL] = (spread[LEVEL] ?? 0) + jump;
    const variance = expected + jump;
    const most = MOST * Math.sqrt(variance);
    const error = Math.max(-most, Math.min(most, surprise)) / variance;
    for (let i = 0; i < spread.length; i++) {
      this.#mean[i] = (this.#mean[i] ?? 0) + (spread[i] ?? 0) * error;
      addTimes(this.#covariance[i], -(spread[i] ?? 0) / variance, spread);
    }
  }

  /** Covariances of the sum of these shares with every place. */
  #spread(shares: readonly Share[]): Float64Array {
    const spread = new Float64Array(this.#mean.length);
    for (const [place, share] of shares) addTimes(spread, share, this.#covariance[place]);
    return spread;
  }

  /** @param jump variance */
  #addToLevel(jump: number): void {
    const level = this.#covariance[LEVEL];
    if (level) level[LEVEL] = (level[LEVEL] ?? 0) + jump;
  }

  /** Whether steps of the kind were seen before that say what it takes; counts them. */
  #isKnown({ size }: StepKind): boolean {
    const numSeen = (this.#numSeen.get(size) ?? 0) + 1;
    this.#numSeen.set(size, numSeen);
    return numSeen > KNOWN_STEPS;
  }

  /** From one step to the next. @param gust variance of the level's change */
  #age(gust: number): void {
    this.#mean[LEVEL] = GUST_KEPT * (this.#mean[LEVEL] ?? 0);
    const level = this.#covariance[LEVEL];
    for (const [i, row] of this.#covariance.entries()) {
      if (level) level[i] = GUST_KEPT * (level[i] ?? 0);
      row[LEVEL] = GUST_KEPT * (row[LEVEL] ?? 0);
      row[i] = (row[i] ?? 0) + (i === LEVEL ? gust : WALK ** 2);
    }
  }

  #addPlaces(kind: StepKind): void {
    for (const what of DEVIATIONS) {
      const { [what]: of } = kind;
      if (of === undefined || this.#places[what].has(of)) continue;
      const place = this.#mean.push(0) - 1;
      this.#places[what].set(of, place);
      const size = this.#mean.length;
      this.#covariance = Array.from({ length: size }, (_, i) => {
        const row = new Float64Array(size);
        row.set(this.#covariance[i] ?? []);
        if (i === place) row[i] = SPREADS[what] ** 2;
        return row;
      });
    }
  }

  /** By how much the log of a step's time moves with each place of the state, where it does. */
  #shares(kind: StepKind): Share[] {
    if (kind.size === undefined) return [LEVEL_SHARE, PLAIN_SHARE];
    const { parts } = kind;
    const sum = this.#sum(parts);
    const shares: Share[] = [LEVEL_SHARE, ...this.#deviations(kind)];
    for (let i = 0; i < NUM_PARTS; i++)
      shares.push([FIRST_PART + i, ((parts[i] ?? 0) * Math.exp(this.#mean[FIRST_PART + i] ?? 0)) / sum]);
    return shares;
  }

  /** Those of the kind that have a place. */
  #deviations(kind: StepKind): Share[] {
    const shares: Share[] = [];
    for (const what of DEVIATIONS) {
      const { [what]: of } = kind;
      const place = of === undefined ? undefined : this.#places[what].get(of);
      if (place !== undefined) shares.push([place, 1]);
    }
    return shares;
  }

  #sum(parts: readonly number[]): number {
    let sum = 0;
    for (let i = 0; i < NUM_PARTS; i++) sum += (parts[i] ?? 0) * Math.exp(this.#mean[FIRST_PART + i] ?? 0);
    return sum;
  }
}

/**
 * How likely it is that the machine has become another one, where the log of a step's time is off by so much.
 * @param variance of that where it has not
 */
function chanceOfJump(surprise: number, variance: number): number {
  const density = (of: number) => Math.exp((-0.5 * surprise ** 2) / of) / Math.sqrt(of);
  const [jumped, stayed] = [JUMP_CHANCE * density(variance + JUMP ** 2), (1 - JUMP_CHANCE) * density(variance)];
  // Neither is likely where it is off by far more than machines differ.
  return jumped > 0 ? jumped / (jumped + stayed) : 1;
}

/** A place of the state, and a weight. */
type Share = readonly [number, number];

const LEVEL_SHARE: Share = [LEVEL, 1];
const PLAIN_SHARE: Share = [PLAIN, 1];

/** Adds so many times the other row to a row. */
function addTimes(row: Float64Array | undefined, times: number, other: Float64Array | undefined): void {
  if (row === undefined || other === undefined || times === 0) return;
  for (let i = 0; i < row.length; i++) row[i] = (row[i] ?? 0) + times * (other[i] ?? 0);
}

function sumOver(shares: readonly Share[], values: ArrayLike<number>): number {
  let sum = 0;
  for (let i = 0; i < shares.length; i++) {
    const [place, share] = shares[i] ?? LEVEL_SHARE;
    sum += share * (values[place] ?? 0);
  }
  return sum;
}
