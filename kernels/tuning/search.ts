import type { KernelFamily } from "../family.ts";
import { numRanges, possibleRanges, productKey } from "../ops/product.ts";
import { type KernelChoice, type ModelProduct, ruleChoice } from "./kernel-choice.ts";

/** One way to compute a product. */
export interface Variant {
  readonly numRows: number;
  readonly rowTile: number;
  readonly numRanges: number;
}

export interface ProductTimer {
  /** Milliseconds of each variant, all measured under the same conditions; NaN where there is no answer. */
  time(product: ModelProduct, variants: readonly Variant[]): Promise<readonly number[]>;
}

/** When the search must come to an end, with what it has. */
export interface Deadline {
  passed(): boolean;
}

/** What is chosen instead of the rule's way must be this much faster: less is noise. */
const WORTHWHILE = 0.97;
/** Numbers of ranges looked at, to either side of the rule's. */
const NEIGHBOURS = 2;
/** A step of decoding has few rows and is what most passes are; the other kind is a prompt. */
const DECODE_WEIGHT = 3;

/**
 * The fastest numbers of ranges, product by product, and the row tiles that pay. Starts at the rules, and stays there where nothing is
 * clearly faster or time is up.
 */
export async function searchKernels(
  family: KernelFamily,
  key: string,
  products: readonly ModelProduct[],
  timer: ProductTimer,
  deadline: Deadline,
): Promise<KernelChoice> {
  const rule = ruleChoice(family, key, products);
  const ranges: Record<string, number> = { ...rule.ranges };
  const largestFirst = products.toSorted((a, b) => size(b) - size(a));
  for (const product of largestFirst) {
    if (product.whole || deadline.passed()) continue;
    ranges[productKey(family, product.shape)] = await searchRanges(family, product, timer);
  }
  const searched = { ...family, ranges };
  return { key, rowTiles: await searchRowTiles(searched, largestFirst, timer, deadline), ranges };
}

function size({ shape, matrices }: ModelProduct): number {
  return shape.numInputs * shape.numOutputs * matrices.length;
}

async function searchRanges(family: KernelFamily, product: ModelProduct, timer: ProductTimer): Promise<number> {
  const possible = possibleRanges(family, product.shape);
  const rule = numRanges(family, product.shape);
  const at = possible.indexOf(rule);
  const candidates = possible.slice(Math.max(0, at - NEIGHBOURS), at + NEIGHBOURS + 1);
  if (candidates.length === 1) return rule;
  const [fewest = 1] = family.rowTiles;
  const most = family.rowTiles.at(-1) ?? fewest;
  const variants = candidates.flatMap((ranges) =>
    [fewest, most].map((rows): Variant => ({ numRows: rows, rowTile: rows, numRanges: ranges })),
  );
  const times = await timer.time(product, variants);
  const timesOf = (i: number) => [times[2 * i] ?? Number.NaN, times[2 * i + 1] ?? Number.NaN] as const;
  const [ruleFew, ruleMany] = timesOf(candidates.indexOf(rule));
  let best = { ranges: rule, cost: WORTHWHILE * (DECODE_WEIGHT + 1) };
  for (const [i, ranges] of candidates.entries()) {
    const [few, many] = timesOf(i);
    const cost = (DECODE_WEIGHT * few) / ruleFew + many / ruleMany;
    // NaN is never less.
    if (cost < best.cost) best = { ranges, cost };
  }
  return best.ranges;
}

/** A tile pays where one pass of it is faster than the passes of the tile below it over the same rows. */
async function searchRowTiles(
  family: KernelFamily,
  products: readonly ModelProduct[],
  timer: ProductTimer,
  deadline: Deadline,
): Promise<readonly number[]> {
  const { rowTiles } = family;
  const pairs = rowTiles.flatMap((numRows, i) => rowTiles.slice(0, i + 1).map((rowTile) => ({ numRows, rowTile })));
  const totals = new Map<string, number>();
  for (const product of products) {
    if (deadline.passed()) break;
    const ranges = numRanges(family, product.shape, product.whole);
    const times = await timer.time(
      product,
      pairs.map((pair) => ({ ...pair, numRanges: ranges })),
    );
    for (const [i, { numRows, rowTile }] of pairs.entries()) {
      const name = `${numRows} by ${rowTile}`;
      totals.set(name, (totals.get(name) ?? 0) + product.matrices.length * (times[i] ?? Number.NaN));
    }
  }
  const total = (numRows: number, rowTile: number) => totals.get(`${numRows} by ${rowTile}`) ?? Number.NaN;
  const kept: number[] = [];
  for (const tile of rowTiles) {
    const below = kept.at(-1);
    // Kept where nothing is known of it.
    const isSlow = below !== undefined && total(tile, tile) >= WORTHWHILE * total(tile, below);
    if (!isSlow) kept.push(tile);
  }
  return kept;
}
