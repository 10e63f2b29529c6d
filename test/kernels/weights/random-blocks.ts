import { BLOCK_INPUTS, type WeightBlocks } from "../../../kernels/weights/weight-blocks.ts";
import { uniformHalves } from "../../support/arrays.ts";
import type { Random } from "../../support/random.ts";

/** `count` weights in [−1, 1] (whole blocks of quantised formats), with scales, minimums and floats that f16 holds exactly. */
export function randomBlocks(random: Random, format: WeightBlocks["format"], count: number): WeightBlocks {
  if (format === "float") return { format, values: uniformHalves(random, count), lowPrecision: false };
  const numBlocks = count / BLOCK_INPUTS;
  if (format === "q8") {
    const quants = Int8Array.from({ length: count }, () => random.int(-128, 127));
    return { format, quants, scales: uniformHalves(random, numBlocks, 1 / 128) };
  }
  const quants = Uint8Array.from({ length: count }, () => random.int(0, 15));
  const scales = uniformHalves(random, numBlocks, 1 / 32);
  return { format, quants, scales, minimums: uniformHalves(random, numBlocks, 1 / 2) };
}
