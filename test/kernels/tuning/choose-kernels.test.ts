import { mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeEach, describe, expect, it } from "vitest";
import { choiceKey, chooseKernels, GpuError, type KernelChoice, type ModelProduct } from "../../../kernels/index.ts";
import { publishJson } from "../../../kernels/tuning/choice-cache.ts";
import { parseChoice } from "../../../kernels/tuning/kernel-choice.ts";
import { FAMILIES, useGpu } from "../../support/gpu.ts";
import { FakeTimer, MATRIX, PRODUCTS, productOf } from "./products.ts";

const test = useGpu();
const DEVICE = { adapterName: "adapter", driver: "driver 1", features: ["subgroups"] };
const root = mkdtempSync(join(tmpdir(), "canopy-kernels-"));
afterAll(() => rmSync(root, { recursive: true }));

let cacheDir: string;
beforeEach(() => {
  cacheDir = mkdtempSync(join(root, "cache-"));
});

/** The tile of four rows is the slowest, so a search drops it. */
const dropsFour = () =>
  new FakeTimer((_, { numRows, rowTile }) => (rowTile === 4 ? 9 : 1) * Math.ceil(numRows / rowTile));

/** A choice on this machine's adapter, as another process would make it. */
function choose(timer: FakeTimer | undefined, options: { products?: ModelProduct[]; now?: () => number } = {}) {
  const { products = [productOf(64, 32)], now = () => 0 } = options;
  return chooseKernels(DEVICE, test.context(FAMILIES[0]), products, { cacheDir, timer, now, chosen: new Map() });
}

const files = () => readdirSync(cacheDir).map((name) => join(cacheDir, name));

describe("a choice of kernels", () => {
  it("is measured once; then the file answers", async () => {
    const timer = dropsFour();
    const first = await choose(timer);
    expect(first.rowTiles).toEqual(FAMILIES[0].rowTiles.filter((tile) => tile !== 4));
    expect(files()).toEqual([join(cacheDir, `kernels-${first.key}.json`)]);
    const second = dropsFour();
    expect(await choose(second)).toEqual(first);
    expect(timer.asked).toHaveLength(1);
    expect(second.asked).toEqual([]);
  });

  it("goes by the rules, and leaves no file, where nothing can be measured", async () => {
    const { rowTiles } = await choose(undefined);
    expect(rowTiles).toEqual(FAMILIES[0].rowTiles);
    expect(files()).toEqual([]);
  });

  it("goes by the rules where measuring fails, and is not kept; a lost device is an error", async () => {
    const failing = (code: "step_poisoned" | "device_lost") =>
      new FakeTimer(() => {
        throw new GpuError(code, "no");
      });
    expect((await choose(failing("step_poisoned"))).rowTiles).toEqual(FAMILIES[0].rowTiles);
    expect(files()).toEqual([]);
    await expect(choose(failing("device_lost"))).rejects.toMatchObject({ code: "device_lost" });
  });

  it("takes no longer than a second: what is not measured by then goes by the rules", async () => {
    let now = 0;
    const slow = new FakeTimer((_, { rowTile }) => {
      now += 600;
      return rowTile;
    });
    const products = [productOf(64, 32), productOf(64, 64), productOf(128, 64)];
    await choose(slow, { products, now: () => now });
    expect(slow.asked).toHaveLength(1);
  });

  it.each([
    ["half a file", (text: string) => text.slice(0, text.length / 2)],
    ["nothing", () => ""],
    ["another adapter's", (text: string) => text.replace(/"key":"../, '"key":"zz')],
    ["tiles that there are not", (text: string) => text.replace(/"rowTiles":\[[^\]]*\]/, '"rowTiles":[1,5]')],
    ["a field more", (text: string) => text.replace("{", '{"more":1,')],
  ])("is measured anew, and the file replaced, where the file holds %s", async (_, damage) => {
    const first = await choose(dropsFour());
    const [path = ""] = files();
    const good = readFileSync(path, "utf8");
    writeFileSync(path, damage(good));
    expect(readFileSync(path, "utf8")).not.toBe(good);
    const again = dropsFour();
    expect(await choose(again)).toEqual(first);
    expect(again.asked).toHaveLength(1);
    expect(readFileSync(path, "utf8")).toBe(good);
    expect(files()).toEqual([path]);
  });

  it("is the same for all that choose at the same time, whatever each measured", async () => {
    const timers = Array.from({ length: 6 }, (_, i) =>
      i % 2 === 0 ? dropsFour() : new FakeTimer((_, { numRows, rowTile }) => Math.ceil(numRows / rowTile)),
    );
    const choices = await Promise.all(timers.map((timer) => choose(timer)));
    expect(new Set(choices.map((choice) => JSON.stringify(choice))).size).toBe(1);
    expect(files()).toHaveLength(1);
  });

  it("is made once in a process, and again after a failure", async () => {
    const chosen = new Map<string, Promise<KernelChoice>>();
    const choose = (timer: FakeTimer) =>
      chooseKernels(DEVICE, test.context(FAMILIES[0]), [productOf(64, 32)], {
        ...{ cacheDir: "/dev/null/none", now: () => 0, timer, chosen },
      });
    const failing = new FakeTimer(() => {
      throw new GpuError("device_lost", "no");
    });
    await expect(choose(failing)).rejects.toThrow(GpuError);
    const [timer, other] = [dropsFour(), dropsFour()];
    const [first, second] = await Promise.all([choose(timer), choose(other)]);
    expect(second).toBe(first);
    expect(timer.asked.length + other.asked.length).toBe(1);
  });
});

describe("the key of a choice", () => {
  const key = choiceKey(DEVICE, MATRIX, PRODUCTS);

  it.each([
    ["adapter", choiceKey({ ...DEVICE, adapterName: "other" }, MATRIX, PRODUCTS)],
    ["driver", choiceKey({ ...DEVICE, driver: "driver 2" }, MATRIX, PRODUCTS)],
    ["features", choiceKey({ ...DEVICE, features: [] }, MATRIX, PRODUCTS)],
    ["family", choiceKey(DEVICE, { ...MATRIX, splitSize: 64 }, PRODUCTS)],
    ["shapes", choiceKey(DEVICE, MATRIX, PRODUCTS.slice(1))],
    [
      "products of gated inputs",
      choiceKey(
        DEVICE,
        MATRIX,
        PRODUCTS.map((product) => ({ ...product, gateUp: product.shape })),
      ),
    ],
    [
      "formats",
      choiceKey(
        DEVICE,
        MATRIX,
        PRODUCTS.map((product) => ({
          ...product,
          matrices: product.matrices.map((matrix) => ({ ...matrix, format: "q4" as const })),
        })),
      ),
    ],
  ])("differs with the %s", (_, other) => {
    expect(other).toMatch(/^[0-9a-f]{32}$/);
    expect(other).not.toBe(key);
    expect(choiceKey(DEVICE, MATRIX, PRODUCTS)).toBe(key);
  });
});

describe("parseChoice refuses", () => {
  const [product = productOf(0, 0)] = PRODUCTS;
  const good = { key: "key", rowTiles: [8, 32], ranges: { "2048x3072": 16 } };
  const parse = (data: unknown) => parseChoice(data, MATRIX, "key", [product]);

  it("nothing that the kernels can follow", () => {
    expect(parse(good)).toEqual(good);
    expect(parse({ ...good, siluApart: true })).toEqual({ ...good, siluApart: true });
  });

  it.each<readonly [string, object]>([
    ["another key", { key: "other" }],
    ["tiles without the smallest", { rowTiles: [16, 32] }],
    ["tiles out of order", { rowTiles: [8, 32, 16] }],
    ["no tiles", { rowTiles: [] }],
    ["ranges that do not divide the inputs", { ranges: { "2048x3072": 5 } }],
    ["a product too many", { ranges: { "2048x3072": 16, "64x64": 1 } }],
    ["a product too few", { ranges: {} }],
    ["a flag that is none", { siluApart: false }],
    ["numbers that are none", { ranges: { "2048x3072": "16" } }],
  ])("%s", (_, change) => {
    expect(parse({ ...good, ...change })).toBeUndefined();
  });
});

it("a file that appears while one is written wins", async () => {
  const path = join(cacheDir, "folder", "file.json");
  const accept = (data: unknown) => (typeof data === "number" ? data : undefined);
  expect(await publishJson(path, 1, accept)).toBe(1);
  expect(await publishJson(path, 2, accept)).toBe(1);
  writeFileSync(path, "damaged");
  expect(await publishJson(path, 3, accept)).toBe(3);
  expect(readFileSync(path, "utf8")).toBe("3");
  expect(readdirSync(join(cacheDir, "folder"))).toEqual(["file.json"]);
});
