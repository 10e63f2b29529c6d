import {
  type Activation,
  activationBytes,
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
  toHalf,
  uploadMatrix,
  type WeightBlocks,
  type WeightFormat,
} from "../kernels/index.ts";
import { matmulReference } from "../kernels/reference/matmul.ts";
import { copyBandwidth, fill, gpuMicroseconds, randomBytes, warmUp } from "./timing.ts";

/** Shapes of a layer's products and of the LM head: [outputs, inputs]. */
export const MODEL_SHAPES: Readonly<Record<string, readonly (readonly [number, number])[]>> = {
  "1b": [
    [3072, 2048],
    [2048, 2048],
    [16384, 2048],
    [2048, 8192],
    [128256, 2048],
  ],
  "8b": [
    [6144, 4096],
    [4096, 4096],
    [28672, 4096],
    [4096, 14336],
  ],
};
const ROW_COUNTS = [1, 8, 16, 32, 64];
/** More than any cache: products go round matrices of so many bytes in all. */
const WORKING_SET = 400e6;
const BYTES_PER_WEIGHT: Readonly<Record<WeightFormat, number>> = { f32: 4, f16: 2, q8: 1 + 2 / 32, q4: 0.5 + 4 / 32 };

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
  readonly copyGigabytesPerSecond: number;
  /** Largest error of each format on a small product, relative to Σ|w · x|. */
  readonly errors: Readonly<Record<string, number>>;
  readonly figures: readonly MatmulFigures[];
}

/** Products of the shapes of a model, each format first checked against the reference on this device. */
export async function benchMatmul(gpu: GpuContext, model: string): Promise<MatmulReport> {
  const { name, storage } = gpu.family;
  const formats: readonly WeightFormat[] = name === "portable" ? ["f32"] : [storage, "q8", "q4"];
  const errors: Record<string, number> = {};
  for (const format of formats) errors[format] = await checkProduct(gpu, format);
  const copyGigabytesPerSecond = await copyBandwidth(gpu);
  const figures: MatmulFigures[] = [];
  for (const format of formats) {
    for (const [numOutputs, numInputs] of MODEL_SHAPES[model] ?? []) {
      figures.push(await timeProduct(gpu, format, { numOutputs, numInputs }, copyGigabytesPerSecond));
    }
  }
  return { copyGigabytesPerSecond, errors, figures };
}

async function timeProduct(
  gpu: GpuContext,
  format: WeightFormat,
  shape: ProductShape,
  copyGigabytesPerSecond: number,
): Promise<MatmulFigures> {
  const bytes = shape.numInputs * shape.numOutputs * BYTES_PER_WEIGHT[format];
  const { x, y } = operands(gpu, shape, Math.max(...ROW_COUNTS));
  const numCopies = Math.min(24, Math.max(2, Math.ceil(WORKING_SET / bytes)));
  const ops: Op[] = [];
  const buffers: GPUBuffer[] = [x.buffer, y.buffer];
  for (let i = 0; i < numCopies; i++) {
    const weights = randomMatrix(gpu, format, shape);
    buffers.push(weights.values, ...(weights.scales ? [weights.scales] : []));
    ops.push(await matmul(gpu, { weights, x, y }));
  }
  const all = (numRows: number) => (pass: GPUComputePassEncoder) => {
    for (const op of ops) op(pass, { numRows, numSplits: 1, numLogits: 0 });
  };
  await warmUp(gpu, all(1));
  const us: Record<number, number> = {};
  for (const numRows of ROW_COUNTS)
    us[numRows] = await gpuMicroseconds(gpu, { repeats: numCopies, encode: all(numRows) });
  for (const buffer of buffers) gpu.pool.destroy(buffer);
  const gigabytesPerSecond = bytes / (us[1] ?? 1) / 1e3;
  return { format, ...shape, us, gigabytesPerSecond, shareOfCopy: gigabytesPerSecond / copyGigabytesPerSecond };
}

/** Random bytes as weights: what they are does not matter to the time. */
function randomMatrix(gpu: GpuContext, format: WeightFormat, { numInputs, numOutputs }: ProductShape) {
  const count = numInputs * paddedOutputs(gpu.family, numOutputs);
  const scaleBytes = format === "q8" ? count / 16 : format === "q4" ? count / 8 : 0;
  const values = gpu.pool.storage(count * BYTES_PER_WEIGHT[format] - scaleBytes, "values");
  fill(gpu.device, values, randomBytes(1 << 20));
  if (scaleBytes === 0) return { format, values };
  const scales = gpu.pool.storage(scaleBytes, "scales");
  fill(gpu.device, scales, halves(1 << 19, 0.01));
  return { format, values, scales };
}

function operands({ pool, family, device }: GpuContext, shape: ProductShape, numRows: number) {
  const { numInputs } = shape;
  const maxRows = paddedRows(family, numRows);
  const numOutputs = paddedOutputs(family, shape.numOutputs);
  const ranges = numRanges(family, { numInputs, numOutputs });
  const x: Activation = { buffer: pool.storage(activationBytes(family, maxRows, numInputs), "x"), maxRows, numInputs };
  fill(device, x.buffer, halves(1 << 16, 1));
  const y: Product = {
    buffer: pool.storage(4 * ranges * maxRows * numOutputs, "y"),
    maxRows,
    numOutputs,
    numRanges: ranges,
  };
  return { x, y };
}

function halves(count: number, scale: number): Uint8Array<ArrayBuffer> {
  return new Uint8Array(toHalf(Float32Array.from(randomBytes(count), (byte) => (scale * byte) / 256)).buffer);
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
        const encoder = gpu.device.createCommandEncoder();
        const pass = encoder.beginComputePass();
        op(pass, { numRows, numSplits: 1, numLogits: 0 });
        pass.end();
        gpu.device.queue.submit([encoder.finish()]);
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
