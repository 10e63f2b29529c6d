import { toHalf, toHalfBits } from "../f16.ts";
import { MATRIX_TILE, type ProductShape, roundUp } from "../ops/product.ts";
import { BLOCK_INPUTS, type Q4Blocks, type Q8Blocks } from "./weight-blocks.ts";

/** Contents of the two buffers of a packed matrix. Tiles lie as in wgsl/weights_*_tiles.wgsl. */
export interface PackedWeights {
  readonly values: ArrayBufferView<ArrayBuffer>;
  readonly scales?: Uint16Array<ArrayBuffer>;
}

const TILE_OUTPUTS = 16;
const TILE_INPUTS = MATRIX_TILE.inputs;
const TILE_BLOCKS = TILE_INPUTS / BLOCK_INPUTS;

interface Tiling {
  readonly numInputTiles: number;
  readonly numTiles: number;
}

/** Outputs are padded to whole tiles of 32 and inputs to whole tiles of 64, with weights of zero. */
function tiling({ numInputs, numOutputs }: ProductShape): Tiling {
  const numInputTiles = Math.ceil(numInputs / TILE_INPUTS);
  const numOutputTiles = roundUp(numOutputs, MATRIX_TILE.outputs) / TILE_OUTPUTS;
  return { numInputTiles, numTiles: numInputTiles * numOutputTiles };
}

/** Calls `place` for every run of `length` inputs of every output: its tile, its output and its place in it, and which run it is. */
function eachRun(
  { numInputs, numOutputs }: ProductShape,
  { numInputTiles }: Tiling,
  length: number,
  place: (tile: number, output: number, runInTile: number, run: number) => void,
): void {
  const runsOfOutput = Math.ceil(numInputs / length);
  const runsOfTile = TILE_INPUTS / length;
  for (let n = 0; n < numOutputs; n++) {
    const firstTile = Math.floor(n / TILE_OUTPUTS) * numInputTiles;
    for (let i = 0; i < runsOfOutput; i++) {
      place(firstTile + Math.floor(i / runsOfTile), n % TILE_OUTPUTS, i % runsOfTile, n * runsOfOutput + i);
    }
  }
}

/** Inputs of one load of a matrix. */
const STEP_INPUTS = 16;

/** f32 [numOutputs, numInputs], rounded to f16. */
export function packF16Tiles(shape: ProductShape, weights: Float32Array): PackedWeights {
  const tiles = tiling(shape);
  const values = new Uint16Array(tiles.numTiles * TILE_OUTPUTS * TILE_INPUTS);
  const halves = toHalf(weights);
  const { numInputs } = shape;
  const runsOfOutput = Math.ceil(numInputs / STEP_INPUTS);
  eachRun(shape, tiles, STEP_INPUTS, (tile, output, step, run) => {
    const n = Math.floor(run / runsOfOutput);
    const k = (run % runsOfOutput) * STEP_INPUTS;
    const from = n * numInputs + k;
    const to = ((tile * 4 + step) * TILE_OUTPUTS + output) * STEP_INPUTS;
    const count = Math.min(STEP_INPUTS, numInputs - k);
    for (let i = 0; i < count; i++) values[to + i] = halves[from + i] ?? 0;
  });
  return { values };
}

export function packQ8Tiles(shape: ProductShape, { quants, scales }: Q8Blocks): PackedWeights {
  const tiles = tiling(shape);
  const values = new Uint32Array((tiles.numTiles * TILE_OUTPUTS * TILE_INPUTS) / 4).fill(0x80808080);
  const tileScales = new Uint16Array(tiles.numTiles * TILE_OUTPUTS * TILE_BLOCKS);
  const from = words(quants);
  eachRun(shape, tiles, BLOCK_INPUTS, (tile, output, blockInTile, block) => {
    if (block >= scales.length) return;
    const to = ((tile * TILE_BLOCKS + blockInTile) * TILE_OUTPUTS + output) * 8;
    for (let i = 0; i < 8; i++) {
      const four = (from[block * 8 + i] ?? 0) ^ 0x80808080;
      // Masking bytes 0 and 2 is to give the first two of four neighbours.
      values[to + i] = (four & 0xff0000ff) | ((four & 0xff00) << 8) | ((four >>> 8) & 0xff00);
    }
    tileScales[(tile * TILE_OUTPUTS + output) * TILE_BLOCKS + blockInTile] = toHalfBits(scales[block] ?? 0);
  });
  return { values, scales: tileScales };
}

export function packQ4Tiles(shape: ProductShape, { quants, scales, minimums }: Q4Blocks): PackedWeights {
  const tiles = tiling(shape);
  const values = new Uint32Array((tiles.numTiles * TILE_OUTPUTS * TILE_INPUTS) / 8);
  const tileScales = new Uint16Array(tiles.numTiles * TILE_OUTPUTS * TILE_BLOCKS * 2);
  const from = words(quants);
  eachRun(shape, tiles, BLOCK_INPUTS, (tile, output, blockInTile, block) => {
    if (block >= scales.length) return;
    const to = (tile * TILE_OUTPUTS + output) * TILE_BLOCKS + blockInTile;
    // Of eight neighbours, 2j stands at nibble j and 2j + 1 at nibble 4 + j.
    for (let i = 0; i < 4; i++) {
      const [near, far] = [from[block * 8 + 2 * i] ?? 0, from[block * 8 + 2 * i + 1] ?? 0];
      values[to * 4 + i] = spread(near) | (spread(far) << 8);
    }
    tileScales[2 * to] = toHalfBits(scales[block] ?? 0);
    tileScales[2 * to + 1] = toHalfBits(minimums[block] ?? 0);
  });
  return { values, scales: tileScales };
}

/** Four nibbles, a byte each: 0 and 2 to nibbles 0 and 1, 1 and 3 to nibbles 4 and 5. */
function spread(four: number): number {
  return (four & 0xf) | ((four >>> 12) & 0xf0) | ((four << 8) & 0xf0000) | ((four >>> 4) & 0xf00000);
}

/** The same bytes, little-endian: whole blocks are whole words. */
function words({ buffer, byteOffset, byteLength }: Int8Array | Uint8Array): Uint32Array {
  const aligned = byteOffset % 4 === 0;
  return new Uint32Array(
    aligned ? buffer : buffer.slice(byteOffset, byteOffset + byteLength),
    aligned ? byteOffset : 0,
    byteLength / 4,
  );
}
