import { mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeEach, expect, test } from "vitest";
import { CHOICE_LIMIT_MS, chooseDrafter } from "../../../engine/drafter-choice/choose-drafter.ts";
import type { BesideKind } from "../../../engine/model/bundled.ts";

const root = mkdtempSync(join(tmpdir(), "canopy-drafters-"));
afterAll(() => rmSync(root, { recursive: true }));

let cacheDir: string;
beforeEach(() => {
  cacheDir = mkdtempSync(join(root, "cache-"));
});

const CANDIDATES = ["draft", "eagle", "medusa"] as const;
const RATES: Partial<Record<BesideKind, number>> = { draft: 20, eagle: 50, medusa: 30 };

/** Chooses by rates that are known, of each round where there are several; those without one cannot be run. Each takes a time by a clock of its own. */
async function choose(
  rates: Partial<Record<BesideKind, number | readonly number[]>> = RATES,
  dependsOn: unknown = ["adapter", 1],
  folder = cacheDir,
  msEach = 0,
) {
  const asked: BesideKind[] = [];
  let ms = 0;
  const numRounds = Math.max(1, ...Object.values(rates).map((rate) => [rate].flat().length));
  const figures = await chooseDrafter(CANDIDATES, dependsOn, {
    ...{ cacheDir: folder, numRounds },
    now: () => ms,
    measure: async (candidate) => {
      asked.push(candidate);
      ms += msEach;
      const tokensPerSecond = [rates[candidate]].flat()[asked.filter((one) => one === candidate).length - 1];
      return tokensPerSecond === undefined ? undefined : { tokensPerSecond, acceptanceLength: 2.5 };
    },
  });
  return { asked, figures, names: figures.map(({ drafter }) => drafter) };
}

const files = () => readdirSync(cacheDir).map((name) => join(cacheDir, name));

test("the fastest comes first; all are measured once, then the file answers", async () => {
  const first = await choose();
  expect(first.asked).toEqual(CANDIDATES);
  expect(first.figures[0]).toEqual({ drafter: "eagle", tokensPerSecond: 50, acceptanceLength: 2.5 });
  expect(first.names).toEqual(["eagle", "medusa", "draft"]);
  const second = await choose({ draft: 99 });
  expect(second).toEqual({ ...first, asked: [] });
  expect(files()).toHaveLength(1);
});

test("of several rounds the best of each counts, and time that runs out in a later one takes nothing away", async () => {
  const rates = { draft: [20, 60], eagle: [50, 10] };
  const { asked, figures } = await choose(rates);
  expect(asked).toEqual([...CANDIDATES, "draft", "eagle"]);
  expect(figures.map(({ drafter, tokensPerSecond }) => [drafter, tokensPerSecond])).toEqual([
    ["draft", 60],
    ["eagle", 50],
  ]);
  const third = CHOICE_LIMIT_MS / 3;
  expect((await choose(rates, ["late"], cacheDir, third)).names).toEqual(["eagle", "draft"]);
  expect(files()).toHaveLength(2);
});

test("what figures depend on has a file of its own", async () => {
  await choose();
  expect((await choose({ draft: 99 }, ["adapter", 2])).names).toEqual(["draft"]);
  expect((await choose({ draft: 1, medusa: 2 }, ["another", 1])).names).toEqual(["medusa", "draft"]);
  expect(files()).toHaveLength(3);
});

test("what cannot be run is left out, and where nothing can be nothing is kept", async () => {
  expect((await choose({})).figures).toEqual([]);
  expect(files()).toEqual([]);
  expect((await choose({ medusa: 1 })).names).toEqual(["medusa"]);
});

test.each([
  ["damaged", "["],
  ["empty", "[]"],
  ["of other drafters", '[{"drafter":"glide","tokensPerSecond":1,"acceptanceLength":1}]'],
  ["of figures that cannot be", '[{"drafter":"draft","tokensPerSecond":-1,"acceptanceLength":1}]'],
])("a file that is %s is measured again and replaced", async (_, text) => {
  await choose();
  const [path = ""] = files();
  writeFileSync(path, text);
  const again = await choose({ draft: 5 });
  expect(again.names).toEqual(["draft"]);
  expect(JSON.parse(readFileSync(path, "utf8"))).toEqual(again.figures);
});

test("a folder that cannot be written costs a measurement each time", async () => {
  const file = join(cacheDir, "file");
  writeFileSync(file, "");
  for (let i = 0; i < 2; i++) {
    const { asked, names } = await choose(RATES, [], join(file, "folder"));
    expect([asked.length, names[0]]).toEqual([3, "eagle"]);
  }
});

test("time that runs out leaves the choice among those that were measured, for this time", async () => {
  const half = CHOICE_LIMIT_MS / 2;
  expect(await choose(RATES, [], cacheDir, half)).toMatchObject({
    asked: ["draft", "eagle"],
    names: ["eagle", "draft"],
  });
  expect((await choose({ medusa: 1 }, [], cacheDir, 2 * half)).asked).toEqual(CANDIDATES);
  expect(files()).toHaveLength(1);
});

test("an engine that fails is no choice", async () => {
  const lost = new Error("the device was lost");
  const measure = () => Promise.reject(lost);
  await expect(chooseDrafter(CANDIDATES, [], { cacheDir, now: () => 0, numRounds: 1, measure })).rejects.toBe(lost);
  expect(files()).toEqual([]);
});
