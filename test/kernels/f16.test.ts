import { describe, expect, it } from "vitest";
import { fromHalf, fromHalfBits, toHalf, toHalfBits } from "../../kernels/index.ts";

const INFINITY = 0x7c00;
const SIGN = 0x8000;

describe("values of halves", () => {
  it("start at 0, step by the spacing of their exponent, and end at 65504 and infinity: all 31,744 finite ones", () => {
    expect(Object.is(fromHalfBits(0), 0)).toBe(true);
    let numWrong = 0;
    for (let bits = 1; bits < INFINITY; bits++) {
      const exponent = Math.max(1, (bits - 1) >> 10);
      if (fromHalfBits(bits) - fromHalfBits(bits - 1) !== 2 ** (exponent - 25)) numWrong++;
    }
    expect(numWrong).toBe(0);
    expect(fromHalfBits(0x3c00)).toBe(1);
    expect(fromHalfBits(INFINITY - 1)).toBe(65504);
    expect(fromHalfBits(INFINITY)).toBe(Number.POSITIVE_INFINITY);
  });

  it("with the sign bit are the negatives", () => {
    let numWrong = 0;
    for (let bits = 0; bits <= INFINITY; bits++)
      if (!Object.is(fromHalfBits(bits | SIGN), -fromHalfBits(bits))) numWrong++;
    expect(numWrong).toBe(0);
  });

  it("above infinity are NaN", () => {
    for (let bits = INFINITY + 1; bits < SIGN; bits++) {
      if (!Number.isNaN(fromHalfBits(bits)) || !Number.isNaN(fromHalfBits(bits | SIGN))) expect.fail(`${bits}`);
    }
  });
});

describe("rounding to halves", () => {
  it("gives back every one of the 65,536, NaN as a NaN of the same sign", () => {
    let numWrong = 0;
    for (let bits = 0; bits < 0x10000; bits++) {
      const nan = (bits & 0x7fff) > INFINITY;
      const back = toHalfBits(fromHalfBits(bits));
      if (nan ? (back & 0x7fff) <= INFINITY : back !== bits) numWrong++;
    }
    expect(numWrong).toBe(0);
  });

  it("goes to the nearest, and halfway to the even one: between all neighbours", () => {
    const above = (value: number) => neighbour(value, 1);
    const below = (value: number) => neighbour(value, -1);
    let numWrong = 0;
    for (let bits = 0; bits < INFINITY; bits++) {
      // 65536 takes the place of infinity: values halfway to it and beyond overflow.
      const next = bits + 1 === INFINITY ? 65536 : fromHalfBits(bits + 1);
      const middle = (fromHalfBits(bits) + next) / 2;
      const even = bits % 2 === 0 ? bits : bits + 1;
      for (const sign of [0, SIGN]) {
        const signed = (value: number) => toHalfBits(sign ? -value : value);
        if (signed(below(middle)) !== (bits | sign)) numWrong++;
        if (signed(middle) !== (even | sign)) numWrong++;
        if (signed(above(middle)) !== ((bits + 1) | sign)) numWrong++;
      }
    }
    expect(numWrong).toBe(0);
  });

  it("arrays go value by value", () => {
    const values = Float32Array.from([0, -1.5, 65504, 1e-7, 1e9]);
    expect([...toHalf(values)]).toEqual([0, 0xbe00, 0x7bff, 2, 0x7c00]);
    expect([...fromHalf(toHalf(values))]).toEqual([0, -1.5, 65504, 2 ** -23, Number.POSITIVE_INFINITY]);
  });
});

/** The next f32 above (+1) or below (−1) a positive f32. */
function neighbour(value: number, step: 1 | -1): number {
  const bits = new Uint32Array(Float32Array.of(value).buffer);
  bits[0] = (bits[0] ?? 0) + step;
  return new Float32Array(bits.buffer)[0] ?? Number.NaN;
}
