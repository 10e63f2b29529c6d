import type { World } from "./simulation.ts";

const BASE = { quality: () => 0.7, overconfidence: 1.3, startFactor: 2, swing: 0 };

/** Machines and drafters of several kinds; the drafter itself is the same in all. */
export const WORLDS: readonly World[] = [
  {
    ...{ ...BASE, name: "a software adapter: every row costs", plainShare: 0.95, draftsOnDevice: true },
    ...{ passMs: (numRows) => 20 + 8 * numRows, levelMs: (numSequences) => 6 + 3 * numSequences },
  },
  {
    ...{ ...BASE, name: "a small model on a GPU: tiles of 16 rows", plainShare: 0.8, draftsOnDevice: true },
    passMs: (numRows) => 1 + 0.1 * Math.ceil(numRows / 16) + 0.002 * numRows,
    levelMs: (numSequences) => 0.12 + 0.002 * numSequences,
  },
  {
    ...{
      ...BASE,
      name: "a small model on a GPU whose host is busy",
      plainShare: 0.8,
      draftsOnDevice: true,
      swing: 0.3,
    },
    passMs: (numRows) => 1.2 + 0.001 * numRows,
    levelMs: (numSequences) => 0.2 + 0.001 * numSequences,
  },
  {
    ...{ ...BASE, name: "a large model on a GPU: rows cost beyond 64", plainShare: 0.98, draftsOnDevice: true },
    passMs: (numRows) => 10 + 0.05 * numRows + 0.1 * Math.max(0, numRows - 64),
    levelMs: (numSequences) => 0.5 + 0.01 * numSequences,
  },
  {
    ...{ ...BASE, name: "drafted on the host, plain on the device", plainShare: 0.8, draftsOnDevice: false },
    passMs: (numRows) => 2 + 0.2 * Math.ceil(numRows / 16) + 0.01 * numRows,
    levelMs: (numSequences) => 0.4 + 0.01 * numSequences,
  },
  {
    ...{ ...BASE, name: "everything on the host", plainShare: 1, draftsOnDevice: false },
    ...{ passMs: (numRows) => 20 + 8 * numRows, levelMs: (numSequences) => 3 + numSequences },
  },
  {
    ...{ ...BASE, name: "drafts by look-up", plainShare: 0.95, draftsOnDevice: false },
    ...{ passMs: (numRows) => 20 + 4 * numRows, levelMs: () => 0.001 },
  },
  {
    ...{
      ...BASE,
      name: "a software adapter whose rows cost three times what start-up saw",
      plainShare: 0.95,
      draftsOnDevice: true,
    },
    ...{ passMs: (numRows) => 20 + 12 * numRows, levelMs: (numSequences) => 6 + 3 * numSequences },
    measuredMs: (numRows) => 28 + 4 * numRows,
  },
];

/** Start-up measured rows as ten times as dear as they are, as where the host's own work for them counted. */
export const MISMEASURED: World = {
  ...{ ...BASE, name: "a small model on a GPU that was measured wrongly", plainShare: 0.8 },
  ...{ draftsOnDevice: true, swing: 0.3 },
  passMs: (numRows) => 1.2 + 0.001 * numRows,
  levelMs: (numSequences) => 0.15 + 0.001 * numSequences,
  measuredMs: (numRows) => 1.2 + 0.016 * numRows,
};

/** Steps take as long as the moment has it: means of eight in a row differ by a quarter, as on a host with much other work. */
export const GUSTY: World = {
  ...{
    ...BASE,
    name: "a small model on a GPU whose host has gusts",
    plainShare: 0.9,
    draftsOnDevice: true,
    gusts: 0.3,
  },
  passMs: (numRows) => 0.7 + 0.0015 * numRows,
  levelMs: (numSequences) => 0.09 + 0.001 * numSequences,
};

/** Two cores, as measured while all of a drafter's layer ran for each token that it has not seen: 0.7 ms a token, where a plain step of 8 sequences takes 45. */
export const SLOW_TO_CATCH_UP: World = {
  ...{
    ...BASE,
    name: "a software adapter whose drafter is long in catching up",
    plainShare: 0.99,
    draftsOnDevice: true,
  },
  ...{ catchUpMs: 0.7, gusts: 0.1 },
  passMs: (numRows) => 12 + 4.2 * numRows,
  levelMs: (numSequences) => 4 + numSequences,
};
