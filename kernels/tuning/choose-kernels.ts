import { createHash } from "node:crypto";
import { join } from "node:path";
import { buildDigest } from "../build-digest.ts";
import type { Gpu } from "../device.ts";
import { GpuError } from "../errors.ts";
import type { KernelFamily } from "../family.ts";
import type { GpuContext } from "../gpu-context.ts";
import { maxGatedRows } from "../ops/gated-matmul.ts";
import { numRanges, paddedOutputs } from "../ops/product.ts";
import { checkRowTiles, type ProductSum } from "../row-tiles.ts";
import { checkSiluOnLoad, type GatedSum } from "../silu-on-load.ts";
import { publishJson, readJson } from "./choice-cache.ts";
import { type KernelChoice, type ModelProduct, parseChoice, ruleChoice, withChoice } from "./kernel-choice.ts";
import { type Deadline, type ProductTimer, searchKernels } from "./search.ts";

/** Of the search on a GPU; software adapters go by the rules. */
const BUDGET_MS = 1000;

/** Adapter and driver that a choice is for. */
export type AdapterIdentity = Pick<Gpu, "adapterName" | "driver" | "features">;

/** What choosing takes from outside. */
export interface ChoiceTools {
  readonly cacheDir: string;
  /** undefined where nothing can be measured: then the rules hold, and nothing is kept. */
  readonly timer: ProductTimer | undefined;
  /** What this process chose, by key: two engines of one process never differ. */
  readonly chosen: Map<string, Promise<KernelChoice>>;
  /** Milliseconds of any clock that only goes forward. */
  readonly now: () => number;
}

/**
 * Chooses how a model's products run on a device: measured once, kept in a file, and every choice's row tiles and ways to SiLU compared
 * bit for bit (`checkRowTiles`, `checkSiluOnLoad`). It depends on the model's own products alone, so that it is the same whatever drafts for the model.
 * @throws GpuError device_lost
 */
export function chooseKernels(
  device: AdapterIdentity,
  gpu: GpuContext,
  products: readonly ModelProduct[],
  tools: ChoiceTools,
): Promise<KernelChoice> {
  const { chosen } = tools;
  const key = choiceKey(device, gpu.family, products);
  let choice = chosen.get(key);
  if (choice === undefined) {
    choice = choose(gpu, key, products, tools);
    chosen.set(key, choice);
    choice.catch(() => chosen.delete(key));
  }
  return choice;
}

async function choose(
  gpu: GpuContext,
  key: string,
  products: readonly ModelProduct[],
  tools: ChoiceTools,
): Promise<KernelChoice> {
  const wanted = (await measured(gpu.family, key, products, tools)) ?? ruleChoice(gpu.family, key, products);
  const family = withChoice(gpu.family, wanted);
  const context = { ...gpu, family };
  const [{ rowTiles }, sameSilu] = await Promise.all([
    checkRowTiles(
      context,
      products.flatMap((product) => sumsOf(family, product)),
    ),
    checkSiluOnLoad(
      context,
      products.flatMap((product) => gatedSumsOf(family, product)),
    ),
  ]);
  return { ...wanted, rowTiles, ...(sameSilu ? {} : { siluApart: true }) };
}

function sumsOf(family: KernelFamily, { shape, whole, matrices }: ModelProduct): ProductSum[] {
  const { numInputs } = shape;
  const ranges = numRanges(family, shape, whole);
  return matrices.map(({ format }) => ({ numInputs, numRanges: ranges, format }));
}

/** None where the product's inputs are not gated. */
function gatedSumsOf(family: KernelFamily, product: ModelProduct): GatedSum[] {
  const { shape, gateUp } = product;
  if (gateUp === undefined) return [];
  const gateUpRanges = numRanges(family, gateUp);
  const maxRows = maxGatedRows(family, {
    gateUp: { numRanges: gateUpRanges },
    x: shape,
    y: { numOutputs: paddedOutputs(family, shape.numOutputs) },
  });
  return sumsOf(family, product).map((sum) => ({ ...sum, gateUpRanges, maxRows }));
}

/** Everything that the times, and the meaning of a choice, depend on. */
export function choiceKey(
  { adapterName, driver, features }: AdapterIdentity,
  family: KernelFamily,
  products: readonly ModelProduct[],
): string {
  const shapes = products.map(({ shape, whole, gateUp, matrices }) => [
    ...[shape, whole, gateUp],
    matrices.map(({ format }) => format),
  ]);
  const parts = [adapterName, driver, features, buildDigest(), family, shapes];
  return createHash("sha256").update(JSON.stringify(parts)).digest("hex").slice(0, 32);
}

async function measured(
  family: KernelFamily,
  key: string,
  products: readonly ModelProduct[],
  { cacheDir, timer, now }: ChoiceTools,
): Promise<KernelChoice | undefined> {
  if (timer === undefined) return undefined;
  const path = join(cacheDir, `kernels-${key}.json`);
  const accept = (data: unknown) => parseChoice(data, family, key, products);
  const kept = accept(await readJson(path));
  if (kept !== undefined) return kept;
  const end = now() + BUDGET_MS;
  const deadline: Deadline = { passed: () => now() >= end };
  try {
    return await publishJson(path, await searchKernels(family, key, products, timer, deadline), accept);
  } catch (error) {
    // A kernel that this driver refuses, or too little memory to try it: the rules need neither.
    if (error instanceof GpuError && error.code !== "device_lost") return undefined;
    throw error;
  }
}
