import { toHalfBits } from "../f16.ts";
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

/** Where input `k` of output `n` stands: its tile, and its place in it. */
function placeOf({ numInputTiles }: Tiling, n: number, k: number) {
  const tile = Math.floor(n / TILE_OUTPUTS) * numInputTiles + Math.floor(k / TILE_INPUTS);
  return { tile, output: n % TILE_OUTPUTS, input: k % TILE_INPUTS };
}

/** f32 [numOutputs, numInputs], rounded to f16. */
export function packF16Tiles(shape: ProductShape, weights: Float32Array): PackedWeights {
  const tiles = tiling(shape);
  const values = new Uint16Array(tiles.numTiles * TILE_OUTPUTS * TILE_INPUTS);
  for (let n = 0; n < shape.numOutputs; n++) {
    for (let k = 0; k < shape.numInputs; k++) {
      const { tile, output, input } = placeOf(tiles, n, k);
      const at = ((tile * 4 + Math.floor(input / 16)) * TILE_OUTPUTS + output) * 16 + (input % 16);
      values[at] = toHalfBits(weights[n * shape.numInputs + k] ?? 0);
    }
  }
  return { values };
}

/** Byte of a u32 in which each of four neighbours stands, so that masking bytes 0 and 2 gives the first two. */
const Q8_ORDER = [0, 2, 1, 3] as const;

export function packQ8Tiles(shape: ProductShape, { quants, scales }: Q8Blocks): PackedWeights {
  const tiles = tiling(shape);
  const values = new Uint8Array(tiles.numTiles * TILE_OUTPUTS * TILE_INPUTS).fill(128);
  const tileScales = new Uint16Array(tiles.numTiles * TILE_OUTPUTS * TILE_BLOCKS);
  for (let n = 0; n < shape.numOutputs; n++) {
    for (let k = 0; k < shape.numInputs; k++) {
      const { tile, output, input } = placeOf(tiles, n, k);
      const block = Math.floor(input / BLOCK_INPUTS);
      const inBlock = input % BLOCK_INPUTS;
      const from = n * shape.numInputs + k;
      const byte = (inBlock & ~3) + (Q8_ORDER[inBlock & 3] ?? 0);
      values[((tile * TILE_BLOCKS + block) * TILE_OUTPUTS + output) * BLOCK_INPUTS + byte] = (quants[from] ?? 0) + 128;
      if (inBlock === 0) {
        tileScales[(tile * TILE_OUTPUTS + output) * TILE_BLOCKS + block] = toHalfBits(scales[from / BLOCK_INPUTS] ?? 0);
      }
    }
  }
  return { values, scales: tileScales };
}

export function packQ4Tiles(shape: ProductShape, { quants, scales, minimums }: Q4Blocks): PackedWeights {
  const tiles = tiling(shape);
  const values = new Uint8Array((tiles.numTiles * TILE_OUTPUTS * TILE_INPUTS) / 2);
  const tileScales = new Uint16Array(tiles.numTiles * TILE_OUTPUTS * TILE_BLOCKS * 2);
  for (let n = 0; n < shape.numOutputs; n++) {
    for (let k = 0; k < shape.numInputs; k++) {
      const { tile, output, input } = placeOf(tiles, n, k);
      const block = (tile * TILE_OUTPUTS + output) * TILE_BLOCKS + Math.floor(input / BLOCK_INPUTS);
      const inBlock = input % BLOCK_INPUTS;
      const from = n * shape.numInputs + k;
      // Of eight neighbours, 2j stands at nibble j and 2j + 1 at nibble 4 + j.
      const nibble = ((inBlock & 7) >> 1) + 4 * (inBlock & 1);
      const at = block * (BLOCK_INPUTS / 2) + (inBlock >> 3) * 4 + (nibble >> 1);
      values[at] = (values[at] ?? 0) | ((quants[from] ?? 0) << (4 * (nibble & 1)));
      if (inBlock === 0) {
        tileScales[2 * block] = toHalfBits(scales[from / BLOCK_INPUTS] ?? 0);
        tileScales[2 * block + 1] = toHalfBits(minimums[from / BLOCK_INPUTS] ?? 0);
      }
    }
  }
  return { values, scales: tileScales };
}
