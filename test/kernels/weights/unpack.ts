import { fromHalfBits } from "../../../kernels/index.ts";
import type { PackedWeights } from "../../../kernels/weights/pack-tiles.ts";

/** Weights by place: `outputs` rows of `inputs`, with the padding that a layout adds. */
export interface Unpacked {
  readonly outputs: number;
  readonly inputs: number;
  readonly at: (output: number, input: number) => number;
}

export type Unpack = (packed: PackedWeights, numInputs: number, numOutputs: number) => Unpacked;

/**
 * Reads packed weights as the shaders' headers describe the layouts, word by word: what a kernel would multiply with, in f64.
 * Keyed by the file's name under wgsl/.
 */
export const UNPACK = {
  weights_f16_tiles: (packed, numInputs, numOutputs) =>
    tiles(numInputs, numOutputs, (tile, output, input) => {
      return half(packed.values, ((tile * 4 + Math.floor(input / 16)) * 16 + output) * 16 + (input % 16));
    }),
  weights_q8_tiles: (packed, numInputs, numOutputs) =>
    tiles(numInputs, numOutputs, (tile, output, input) => {
      const block = Math.floor(input / 32);
      const word = ((tile * 2 + block) * 16 + output) * 8 + Math.floor((input % 32) / 4);
      // The first two of four neighbours are bytes 0 and 2 of their word.
      const byte = [0, 2, 1, 3][input % 4] ?? 0;
      const quant = ((u32(packed.values, word) >>> (8 * byte)) & 255) - 128;
      return quant * half(packed.scales, (tile * 16 + output) * 2 + block);
    }),
  weights_q4_tiles: (packed, numInputs, numOutputs) =>
    tiles(numInputs, numOutputs, (tile, output, input) => {
      const block = (tile * 16 + output) * 2 + Math.floor(input / 32);
      const nibble = [0, 4, 1, 5, 2, 6, 3, 7][input % 8] ?? 0;
      const word = u32(packed.values, block * 4 + Math.floor((input % 32) / 8));
      return fourBits(word, nibble) * half(packed.scales, 2 * block) + half(packed.scales, 2 * block + 1);
    }),
  weights_f32_rows: (packed, inputs, outputs) => ({
    ...{ outputs, inputs },
    at: (output, input) => view(packed.values).getFloat32(4 * (output * inputs + input), true),
  }),
  weights_f16_rows: (packed, numInputs, outputs) => {
    const inputs = Math.ceil(numInputs / 8) * 8;
    return { outputs, inputs, at: (output, input) => half(packed.values, output * inputs + input) };
  },
  weights_q8_rows: (packed, inputs, outputs) => ({
    ...{ outputs, inputs },
    at: (output, input) => {
      const place = output * inputs + input;
      return view(packed.values).getInt8(place) * half(packed.scales, Math.floor(place / 32));
    },
  }),
  weights_q4_rows: (packed, inputs, outputs) => ({
    ...{ outputs, inputs },
    at: (output, input) => {
      const place = output * inputs + input;
      const block = Math.floor(place / 32);
      const nibble = 2 * (input % 4) + Math.floor((input % 8) / 4);
      const quant = fourBits(u32(packed.values, Math.floor(place / 8)), nibble);
      return quant * half(packed.scales, 2 * block) + half(packed.scales, 2 * block + 1);
    },
  }),
} as const satisfies Record<string, Unpack>;

/** Tiles of 16 outputs × 64 inputs, those of the same outputs side by side; outputs fill tiles by twos. */
function tiles(
  numInputs: number,
  numOutputs: number,
  at: (tile: number, output: number, input: number) => number,
): Unpacked {
  const inputTiles = Math.ceil(numInputs / 64);
  return {
    outputs: Math.ceil(numOutputs / 32) * 32,
    inputs: inputTiles * 64,
    at: (output, input) => {
      const tile = Math.floor(output / 16) * inputTiles + Math.floor(input / 64);
      return at(tile, output % 16, input % 64);
    },
  };
}

function view(data: ArrayBufferView | undefined): DataView {
  if (data === undefined) throw new RangeError("the format has scales");
  return new DataView(data.buffer, data.byteOffset, data.byteLength);
}

function u32(data: ArrayBufferView, index: number): number {
  return view(data).getUint32(4 * index, true);
}

function half(data: ArrayBufferView | undefined, index: number): number {
  return fromHalfBits(view(data).getUint16(2 * index, true));
}

function fourBits(word: number, nibble: number): number {
  return (word >>> (4 * nibble)) & 15;
}
