import { expect } from "vitest";
import { fromHalf, toHalf } from "../../kernels/index.ts";
import type { Random } from "./random.ts";

/** Values in [−scale, scale). */
export function uniform(random: Random, count: number, scale = 1): Float32Array<ArrayBuffer> {
  return Float32Array.from({ length: count }, () => (2 * random.next() - 1) * scale);
}

/** The same, rounded to halves, so that every storage type holds them exactly. */
export function uniformHalves(random: Random, count: number, scale = 1): Float32Array<ArrayBuffer> {
  return fromHalf(toHalf(uniform(random, count, scale)));
}

/**
 * Every |actual − expected| ≤ absolute + relative · |expected|; says where it fails first. NaN never passes.
 * @throws AssertionError
 */
export function expectClose(
  actual: ArrayLike<number>,
  expected: ArrayLike<number>,
  { absolute = 0, relative = 0 }: { readonly absolute?: number; readonly relative?: number },
  what: string,
): void {
  expect(actual.length, `${what}: length`).toBe(expected.length);
  for (let i = 0; i < expected.length; i++) {
    const [a = Number.NaN, e = Number.NaN] = [actual[i], expected[i]];
    if (!(Math.abs(a - e) <= absolute + relative * Math.abs(e))) expect.fail(`${what}[${i}]: ${a}, expected ${e}`);
  }
}

/** The first index at which two arrays' bits differ, −1 if none; arrays of different lengths differ at the shorter's end. */
export function firstDifferentBits(a: Float32Array, b: Float32Array): number {
  const [x, y] = [bitsOf(a), bitsOf(b)];
  if (x.length !== y.length) return Math.min(x.length, y.length);
  return x.findIndex((bits, i) => bits !== y[i]);
}

export function bitsOf(values: Float32Array): Uint32Array {
  return new Uint32Array(values.buffer, values.byteOffset, values.length);
}
