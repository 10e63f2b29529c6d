import fc from "fast-check";
import { MAX_MATCH, MAX_MATCHES, MIN_MATCH } from "../../../engine/speculative/suffix-index.ts";

/** Texts with much repetition: few tokens; a phrase that goes on in several ways; a piece over and over with errors. */
export const texts = fc.oneof(
  fc
    .array(fc.nat(2), { minLength: 1, maxLength: 20 })
    .map((ways) => [...ways.flatMap((way, i) => [100 + i, 1, 2, way, 5, way % 2]), 99, 1, 2]),
  fc.array(fc.nat(2), { minLength: 1, maxLength: 120 }),
  fc
    .tuple(
      fc.array(fc.nat(9), { minLength: 1, maxLength: 45 }),
      fc.array(fc.tuple(fc.nat(150), fc.nat(9)), { maxLength: 4 }),
    )
    .map(([piece, errors]) => {
      const text = Array.from({ length: 160 }, (_, i) => piece[i % piece.length] ?? 0);
      for (const [at, token] of errors) text[at] = token;
      return text;
    }),
);

/** Compares the context's end with every place of the text, but for the text's own end. */
export function naiveMatch(text: readonly number[], context = text, start = 0) {
  const places = Array.from({ length: text.length - start }, (_, i) => start + i)
    .filter((end) => end > start)
    .map((end) => {
      let length = 0;
      while (
        length < Math.min(end - start, context.length, MAX_MATCH) &&
        text[end - 1 - length] === context[context.length - 1 - length]
      )
        length++;
      return { end, length };
    });
  const matchLen = Math.max(0, ...places.map(({ length }) => length));
  if (matchLen < MIN_MATCH) return { matchLen: 0, ends: [] };
  const ends = places.filter(({ length }) => length === matchLen).map(({ end }) => end);
  return { matchLen, ends: ends.reverse().slice(0, MAX_MATCHES) };
}
