import { z } from "zod";
import type { KernelFamily } from "../family.ts";
import { numRanges, type ProductShape, possibleRanges, productKey } from "../ops/product.ts";
import type { PackedMatrix } from "../weights/packed-matrix.ts";

/** A product that a model's layers have in common, or its LM head. */
export interface ModelProduct {
  readonly shape: ProductShape;
  /** Its consumer cannot add ranges (`numRanges`). */
  readonly whole: boolean;
  /** The product of gates and ups that its inputs are made from (`gatedMatmul`); no other product has one. */
  readonly gateUp?: ProductShape;
  /** Of every layer. */
  readonly matrices: readonly PackedMatrix[];
}

const choiceSchema = z.strictObject({
  key: z.string(),
  rowTiles: z.array(z.int().positive()).min(1).readonly(),
  ranges: z.record(z.string(), z.int().positive()).readonly(),
  siluApart: z.literal(true).optional(),
});

/**
 * How one model's products run on one device: plain data, to be handed to every engine that shall give the same bits.
 * - key: of device, build and products that it is for
 * - rowTiles, ranges, siluApart: as in `KernelFamily`; all products with ranges are named
 */
export type KernelChoice = Readonly<z.infer<typeof choiceSchema>>;

/** The choice that the rules make, without a measurement. */
export function ruleChoice(family: KernelFamily, key: string, products: readonly ModelProduct[]): KernelChoice {
  const divided = products.filter(({ whole }) => !whole);
  const ranges = divided.map(({ shape }) => [productKey(family, shape), numRanges(family, shape)] as const);
  return { key, rowTiles: family.rowTiles, ranges: Object.fromEntries(ranges) };
}

export function withChoice(family: KernelFamily, { rowTiles, ranges, siluApart }: KernelChoice): KernelFamily {
  return { ...family, rowTiles, ranges, siluApart };
}

/** What somebody else wrote as the choice for these products; undefined if it is none, or one that the kernels cannot follow. */
export function parseChoice(
  data: unknown,
  family: KernelFamily,
  key: string,
  products: readonly ModelProduct[],
): KernelChoice | undefined {
  const { success, data: choice } = choiceSchema.safeParse(data);
  if (!success || choice.key !== key) return undefined;
  const { rowTiles, ranges } = choice;
  // A subset in the family's order, with the smallest tile: the one that all others are compared with.
  const tiles = family.rowTiles.filter((tile) => rowTiles.includes(tile));
  if (rowTiles[0] !== family.rowTiles[0] || tiles.join() !== rowTiles.join()) return undefined;
  const expected = ruleChoice(family, key, products).ranges;
  if (Object.keys(expected).sort().join() !== Object.keys(ranges).sort().join()) return undefined;
  const follows = products.every(({ shape, whole }) => {
    const wanted = ranges[productKey(family, shape)];
    return whole || (wanted !== undefined && possibleRanges(family, shape).includes(wanted));
  });
  return follows ? choice : undefined;
}
