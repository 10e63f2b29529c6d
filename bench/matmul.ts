import { productShapes } from "../engine/model/product-shapes.ts";
import {
  type Activation,
  activationBytes,
  destroyMatrix,
  expandBlocks,
  type GpuContext,
  matmul,
  numRanges,
  type Op,
  type Product,
  type ProductShape,
  paddedOutputs,
  paddedRows,
  quantizeQ8,
  submitPass,
  toHalf,
  uploadMatrix,
  type WeightBlocks,
  type WeightFormat,
} from "../kernels/index.ts";
import { matmulReference } from "../kernels/reference/matmul.ts";
import type { BenchDevice } from "./bench-device.ts";
import { randomBytes, randomValues } from "./random.ts";
import { BYTES_PER_WEIGHT, RandomWeights, weightFormats } from "./random-weights.ts";
import { SYNTHETIC_SHAPES, type SyntheticShape } from "./synthetic.ts";

const ROW_COUNTS = [1, 8, 16, 32, 64];
/** More than any cache: products go round matrices of so many bytes in all. */
export const WORKING_SET = 400e6;
const ROUNDS = 4;

export interface MatmulFigures {
  readonly format: WeightFormat;
  readonly numOutputs: number;
  readonly numInputs: number;
  /** Microseconds of one product, by number of rows, the wait for the one before included. */
  readonly us: Readonly<Record<number, number>>;
  /** Of the weights, at one row. */
  readonly gigabytesPerSecond: number;
  readonly shareOfCopy: number;
}

export interface MatmulReport {
  readonly adapter: string;
  readonly model: string;
  readonly copyGigabytesPerSecond: number;
  /** Largest error of each format on a small product, relative to Σ|w · x|. */
  readonly errors: Readonly<Record<string, number>>;
  readonly figures: readonly MatmulFigures[];
}

/** Products of the shapes of a model, each format first checked against the reference on this device. */
export async function measureMatmul(on: BenchDevice, model: SyntheticShape): Promise<MatmulReport> {
  const formats = weightFormats(on.gpu);
  const errors: Record<string, number> = {};
  for (const format of formats) errors[format] = await checkProduct(on.gpu, format);
  const copyGigabytesPerSecond = await on.timer.copyBandwidth();
  const figures: MatmulFigures[] = [];
  for (const format of formats) {
    for (const shape of Object.values(productShapes(SYNTHETIC_SHAPES[model]))) {
      figures.push(await timeProduct(on, format, shape, copyGigabytesPerSecond));
    }
  }
  return { adapter: on.device.adapterName, model, copyGigabytesPerSecond, errors, figures };
}

async function timeProduct(
  { gpu, timer }: BenchDevice,
  format: WeightFormat,
  shape: ProductShape,
  copyGigabytesPerSecond: number,
): Promise<MatmulFigures> {
  const { value, scale } = BYTES_PER_WEIGHT[format];
  const bytes = shape.numInputs * shape.numOutputs * (value + scale);
  const { x, y } = operands(gpu, shape, Math.max(...ROW_COUNTS));
  const numCopies = Math.min(24, Math.max(2, Math.ceil(WORKING_SET / bytes)));
  const random = new RandomWeights(gpu);
  const matrices = Array.from({ length: numCopies }, () => random.matrix(format, shape, "weights"));
  const ops: readonly Op[] = await Promise.all(matrices.map((weights) => matmul(gpu, { weights, x, y })));
  const us: Record<number, number> = {};
  for (const numRows of ROW_COUNTS) {
    const times = await timer.time(ROUNDS, (pass) => {
      for (const op of ops) op(pass, { numRows, numSplits: 1, numLogits: 0 });
    });
    us[numRows] = (1000 * Math.min(...times)) / numCopies;
  }
  for (const matrix of matrices) destroyMatrix(gpu.pool, matrix);
  random.close();
  for (const { buffer } of [x, y]) gpu.pool.destroy(buffer);
  const gigabytesPerSecond = bytes / (us[1] ?? 1) / 1e3;
  return { format, ...shape, us, gigabytesPerSecond, shareOfCopy: gigabytesPerSecond / copyGigabytesPerSecond };
}

/** Random inputs of a product and room for what it gives, for `numRows` rows. */
export function operands({ pool, family }: GpuContext, shape: ProductShape, numRows: number) {
  const { numInputs } = shape;
  const maxRows = paddedRows(family, numRows);
  const numOutputs = paddedOutputs(family, shape.numOutputs);
  const ranges = numRanges(family, { numInputs, numOutputs });
  const values = randomValues(activationBytes(family, maxRows, numInputs) / (family.name === "matrix" ? 2 : 4), 1);
  const x: Activation = {
    buffer: pool.upload(family.name === "matrix" ? toHalf(values) : values, "x"),
    ...{ maxRows, numInputs },
  };
  const y: Product = {
    buffer: pool.storage(4 * ranges * maxRows * numOutputs, "y"),
    ...{ maxRows, numOutputs, numRanges: ranges },
  };
  return { x, y };
}

/** The largest error over all tiles of one product, relative to Σ|w · x|. */
async function checkProduct(gpu: GpuContext, format: WeightFormat): Promise<number> {
  const shape = { numInputs: 320, numOutputs: 96 };
  const numRows = 64;
  const blocks = randomBlocks(format, shape);
  const weights = uploadMatrix(gpu.pool, gpu.family, shape, blocks, "weights");
  const { x, y } = operands(gpu, shape, numRows);
  const input = new Float32Array(numRows * shape.numInputs);
  // All inputs are the same function of their place in the buffer's order, so the layout is checked too.
  const stored = toHalf(
    Float32Array.from({ length: x.maxRows * shape.numInputs }, (_, i) => ((i * 37) % 255) / 128 - 1),
  );
  for (let row = 0; row < numRows; row++) {
    for (let k = 0; k < shape.numInputs; k++) {
      const at =
        gpu.family.name === "matrix"
          ? (Math.floor(k / 16) * x.maxRows + row) * 16 + (k % 16)
          : row * shape.numInputs + k;
      input[row * shape.numInputs + k] = ((at * 37) % 255) / 128 - 1;
    }
  }
  gpu.device.queue.writeBuffer(x.buffer, 0, gpu.family.name === "matrix" ? stored : input);
  const expected = matmulReference(input, expandBlocks(blocks), shape.numInputs);
  const scale = matmulReference(input.map(Math.abs), expandBlocks(blocks).map(Math.abs), shape.numInputs);
  let worst = 0;
  for (const tile of gpu.family.rowTiles) {
    const op = await matmul({ ...gpu, family: { ...gpu.family, rowTiles: [tile] } }, { weights, x, y });
    const parts = new Float32Array(
      await gpu.guard.run(() => {
        submitPass(gpu.device, (pass) => op(pass, { numRows, numSplits: 1, numLogits: 0 }));
        return gpu.pool.read(y.buffer, 0, y.buffer.size);
      }),
    );
    for (let i = 0; i < numRows * shape.numOutputs; i++) {
      const at = Math.floor(i / shape.numOutputs) * y.numOutputs + (i % shape.numOutputs);
      let sum = 0;
      for (let range = 0; range < y.numRanges; range++)
        sum += parts[range * y.maxRows * y.numOutputs + at] ?? Number.NaN;
      const error = Math.abs(sum - (expected[i] ?? 0)) / (scale[i] ?? 1);
      worst = Math.max(worst, Number.isNaN(error) ? Number.POSITIVE_INFINITY : error);
    }
  }
  return worst;
}

function randomBlocks(format: WeightFormat, { numInputs, numOutputs }: ProductShape): WeightBlocks {
  const values = Float32Array.from(randomBytes(numInputs * numOutputs, 7), (byte) => byte / 128 - 1);
  if (format === "q8") return quantizeQ8(values);
  if (format !== "q4") return { format: "float", values, lowPrecision: false };
  const scales = Float32Array.from(randomBytes(values.length / 32, 8), (byte) => (byte + 1) / 4096);
  const minimums = Float32Array.from(randomBytes(values.length / 32, 9), (byte) => byte / -512);
  return { format: "q4", quants: Uint8Array.from(values, (value) => Math.floor(8 + 8 * value)), scales, minimums };
}
