import { productShapes } from "../engine/model/product-shapes.ts";
import {
  checkSiluOnLoad,
  destroyMatrix,
  gatedMatmul,
  type KernelFamily,
  matmul,
  maxGatedRows,
  type Op,
  type WeightFormat,
} from "../kernels/index.ts";
import type { BenchDevice } from "./bench-device.ts";
import { operands, WORKING_SET } from "./matmul.ts";
import { BYTES_PER_WEIGHT, RandomWeights, weightFormats } from "./random-weights.ts";
import { SYNTHETIC_SHAPES } from "./synthetic.ts";

/** Of the bundled model, and of the other suites' models. */
const SHAPES = {
  sapling: { ...SYNTHETIC_SHAPES["135m"], hiddenSize: 384, intermediateSize: 1024 },
  ...SYNTHETIC_SHAPES,
};
export type GatedShape = keyof typeof SHAPES;
export const GATED_SHAPES = Object.keys(SHAPES) as readonly GatedShape[];
const ROW_COUNTS = [1, 2, 4, 8, 16];
const MOST_ROWS = Math.max(...ROW_COUNTS);
const ROUNDS = 4;

/** Microseconds of a layer's MLP of so many rows: gate/up product, SiLU, down product. */
export interface GatedTime {
  readonly numRows: number;
  /** SiLU as a kernel of its own. */
  readonly apartUs: number;
  /** By the down product itself, where the family can. */
  readonly onLoadUs: number;
}

export interface GatedFigures {
  readonly model: GatedShape;
  readonly format: WeightFormat;
  readonly gateUpRanges: number;
  readonly downRanges: number;
  /** Rows up to which the engine has the down product do it. */
  readonly maxRows: number;
  readonly times: readonly GatedTime[];
}

export interface GatedReport {
  readonly adapter: string;
  /** Whether both ways gave the same bits, in all models and formats. */
  readonly sameBits: boolean;
  readonly family: KernelFamily["name"];
  readonly figures: readonly GatedFigures[];
}

/** MLPs of the models' shapes in all formats, by both ways. Both ways of a number of rows are measured in turn. */
export async function measureGated(on: BenchDevice, models: readonly GatedShape[]): Promise<GatedReport> {
  const figures: GatedFigures[] = [];
  for (const model of models) {
    for (const format of weightFormats(on.gpu)) figures.push(await measureMlp(on, model, format));
  }
  const sums = figures.map(({ model, format, gateUpRanges, downRanges }) => {
    const numInputs = SHAPES[model].intermediateSize;
    return { numInputs, numRanges: downRanges, format, gateUpRanges, maxRows: MOST_ROWS };
  });
  const sameBits = await checkSiluOnLoad(on.gpu, sums);
  return { adapter: on.device.adapterName, sameBits, family: on.gpu.family.name, figures };
}

async function measureMlp({ gpu, timer }: BenchDevice, model: GatedShape, format: WeightFormat): Promise<GatedFigures> {
  const shapes = productShapes(SHAPES[model]);
  const { value, scale } = BYTES_PER_WEIGHT[format];
  const numWeights =
    shapes.gateUp.numInputs * shapes.gateUp.numOutputs + shapes.down.numInputs * shapes.down.numOutputs;
  const numLayers = Math.min(24, Math.max(2, Math.ceil(WORKING_SET / (numWeights * (value + scale)))));
  const normed = operands(gpu, shapes.gateUp, MOST_ROWS);
  const down = operands(gpu, shapes.down, MOST_ROWS);
  const random = new RandomWeights(gpu);
  const layers = Array.from({ length: numLayers }, () => ({
    gateUp: random.matrix(format, shapes.gateUp, "gateUp"),
    down: random.matrix(format, shapes.down, "down"),
  }));
  const mlps = (maxRows: number): Promise<Op[]> =>
    Promise.all(
      layers.flatMap(({ gateUp, down: weights }) => [
        matmul(gpu, { weights: gateUp, ...normed }),
        gatedMatmul(gpu, { weights, gateUp: normed.y, ...down }, maxRows),
      ]),
    );
  const ways = [await mlps(0), await mlps(MOST_ROWS)] as const;
  const times: GatedTime[] = [];
  for (const numRows of ROW_COUNTS) {
    const us: [number, number] = [Number.POSITIVE_INFINITY, Number.POSITIVE_INFINITY];
    for (let round = 0; round < ROUNDS; round++) {
      for (const [way, ops] of ways.entries()) {
        const passes = await timer.time(2, (pass) => {
          for (const op of ops) op(pass, { numRows, numSplits: 1, numLogits: 0 });
        });
        us[way] = Math.min(us[way] ?? 0, ...passes.map((ms) => (1000 * ms) / numLayers));
      }
    }
    times.push({ numRows, apartUs: us[0], onLoadUs: us[1] });
  }
  const args = { gateUp: normed.y, ...down };
  for (const { gateUp, down } of layers) for (const matrix of [gateUp, down]) destroyMatrix(gpu.pool, matrix);
  random.close();
  for (const { buffer } of [normed.x, normed.y, down.x, down.y]) gpu.pool.destroy(buffer);
  return {
    ...{ model, format, gateUpRanges: normed.y.numRanges, downRanges: down.y.numRanges },
    ...{ maxRows: maxGatedRows(gpu.family, args), times },
  };
}
