import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { Detokenizer } from "../../../engine/text/detokenizer.ts";
import { StopMatcher } from "../../../engine/text/stop-matcher.ts";
import { StoppingTextOutput, type TextDelta, type TextPiece } from "../../../engine/text/text-output.ts";
import type { TokenBytes } from "../../../engine/text/token-bytes.ts";
import { firstStop, numPending } from "./naive-stops.ts";

const SEEDLING = [0xf0, 0x9f, 0x8c, 0xb1];
/** Bytes by id: letters, runs of them, nothing (a control token), parts of 🌱. */
const TOKENS = [
  [0x61],
  [0x62],
  [0x61, 0x62],
  [0x62, 0x61, 0x61],
  [],
  SEEDLING.slice(0, 2),
  SEEDLING.slice(2),
  SEEDLING,
];
const tokens: TokenBytes = {
  tokenBytes: (id) => Uint8Array.from(TOKENS[id] ?? []),
  numLeadingSpaces: 0,
};
const tokenIds = fc.array(fc.nat(TOKENS.length - 1), { maxLength: 12 });
const stopStrings = fc.array(fc.string({ unit: fc.constantFrom("a", "b", "🌱", "\uFFFD"), maxLength: 5 }), {
  maxLength: 4,
});
/** Tokens as an engine step gives them, with how many of them were accepted. */
const groups = fc.array(
  fc.array(fc.nat(TOKENS.length - 1), { maxLength: 5 }).chain((ids) => fc.tuple(fc.constant(ids), fc.nat(ids.length))),
  { maxLength: 6 },
);
const makeOutput = (stops: readonly string[]) =>
  new StoppingTextOutput(new Detokenizer(tokens), new StopMatcher(stops));

/** Whole text after each number of tokens, but for a character that is not complete yet. */
function textsAfter(ids: readonly number[]): string[] {
  return ids.map((_, i) =>
    new TextDecoder().decode(Uint8Array.from(ids.slice(0, i + 1).flatMap((id) => TOKENS[id] ?? [])), { stream: true }),
  );
}

/** Whether each UTF-16 unit of the pieces is marked as accepted. */
const marks = (pieces: readonly TextPiece[]) =>
  pieces.flatMap(({ text, accepted }) => text.split("").map(() => accepted));

describe("StoppingTextOutput against a look at the whole text", () => {
  it("ends the text before the stop and counts the tokens up to the one that completes it", () => {
    let numStopped = 0;
    let numInsideRun = 0;
    fc.assert(
      fc.property(groups, stopStrings, (steps, stops) => {
        const ids = steps.flatMap(([step]) => step);
        const texts = textsAfter(ids);
        const match = firstStop(texts.at(-1) ?? "", stops);

        const output = makeOutput(stops);
        const deltas: TextDelta[] = [];
        for (const [step, numAccepted] of steps) {
          const delta = output.push(step, numAccepted);
          deltas.push(delta);
          if (delta.stopped) {
            if (delta.numTokens < step.length) numInsideRun++;
            break;
          }
          expect(delta.numTokens).toBe(step.length);
        }

        expect(deltas.some(({ stopped }) => stopped)).toBe(match !== undefined);
        if (!match) return;
        numStopped++;
        const emitted = deltas.map(({ text }) => text).join("");
        expect(emitted).toBe((texts.at(-1) ?? "").slice(0, match.end - match.length));
        const numTokens = deltas.reduce((sum, delta) => sum + delta.numTokens, 0);
        expect(numTokens).toBe(texts.findIndex((text) => text.length >= match.end) + 1);
        expect(output.flush()).toEqual({ text: "", pieces: [], tokenStarts: [], numTokens: 0, stopped: false });
        expect(() => output.push([0], 0)).toThrow("invariant");
      }),
      { numRuns: 3000 },
    );
    expect(numStopped).toBeGreaterThan(300);
    expect(numInsideRun).toBeGreaterThan(100);
  });

  it("sends at each step all but what may become a stop, and the rest at the end", () => {
    fc.assert(
      fc.property(groups, stopStrings, (steps, stops) => {
        const ids = steps.flatMap(([step]) => step);
        const texts = textsAfter(ids);
        fc.pre(firstStop(texts.at(-1) ?? "", stops) === undefined);

        const output = makeOutput(stops);
        let sent = "";
        let numPushed = 0;
        for (const [step, numAccepted] of steps) {
          sent += output.push(step, numAccepted).text;
          numPushed += step.length;
          const text = texts[numPushed - 1] ?? "";
          expect(sent).toBe(text.slice(0, text.length - numPending(text, stops)));
          expect(sent).toBe(sent.toWellFormed());
        }
        const bytes = Uint8Array.from(ids.flatMap((id) => TOKENS[id] ?? []));
        expect(sent + output.flush().text).toBe(new TextDecoder().decode(bytes));
      }),
      { numRuns: 3000 },
    );
  });

  it("says which tokens are out with the text, and where each of them begins", () => {
    let [numHeld, numCut] = [0, 0];
    fc.assert(
      fc.property(groups, stopStrings, (steps, stops) => {
        const texts = textsAfter(steps.flatMap(([step]) => step));
        const output = makeOutput(stops);
        let [sent, numPushed, stopped] = ["", 0, false];
        const starts: number[] = [];
        for (const [step, numAccepted] of steps) {
          const delta = output.push(step, numAccepted);
          sent += delta.text;
          numPushed += delta.numTokens;
          stopped = delta.stopped;
          starts.push(...delta.tokenStarts);
          if (stopped) break;
          expect(starts).toHaveLength(texts.slice(0, numPushed).filter((text) => text.length <= sent.length).length);
          if (starts.length < numPushed) numHeld++;
        }
        const begin = (i: number) => texts[i - 1]?.length ?? 0;
        if (stopped) {
          const isOut = (i: number) => (texts[i] ?? "").length <= sent.length || begin(i) < sent.length;
          expect(starts).toHaveLength(Array.from({ length: numPushed }, (_, i) => isOut(i)).filter(Boolean).length);
          if (starts.length < numPushed) numCut++;
        } else starts.push(...output.flush().tokenStarts);
        if (!stopped) expect(starts).toHaveLength(numPushed);
        expect(starts).toEqual(starts.map((_, i) => begin(i)));
      }),
      { numRuns: 2000 },
    );
    expect(numHeld).toBeGreaterThan(100);
    expect(numCut).toBeGreaterThan(100);
  });

  it("looks for stops only in what comes after minTokens tokens", () => {
    let numStopped = 0;
    fc.assert(
      fc.property(groups, stopStrings, fc.nat(6), (steps, stops, minTokens) => {
        const ids = steps.flatMap(([step]) => step);
        const output = new StoppingTextOutput(new Detokenizer(tokens), new StopMatcher(stops), minTokens);
        const { text, stopped } = output.push(ids, 0);
        const texts = textsAfter(ids);
        const before = texts[Math.min(minTokens, ids.length) - 1]?.length ?? 0;
        const whole = texts.at(-1) ?? "";
        const match = firstStop(whole.slice(before), stops);
        expect(stopped).toBe(match !== undefined);
        if (!match) return;
        numStopped++;
        expect(text).toBe(whole.slice(0, before + match.end - match.length));
      }),
      { numRuns: 1000 },
    );
    expect(numStopped).toBeGreaterThan(100);
  });

  it("marks the text of accepted tokens, also where it was held back", () => {
    let numMarked = 0;
    fc.assert(
      fc.property(groups, stopStrings, (steps, stops) => {
        const accepted = steps.flatMap(([step, numAccepted]) => step.map((_, i) => i < numAccepted));
        const texts = textsAfter(steps.flatMap(([step]) => step));
        const output = makeOutput(stops);
        const pieces: TextPiece[] = [];
        const take = (delta: TextDelta) => {
          expect(delta.pieces.map(({ text }) => text).join("")).toBe(delta.text);
          expect(delta.pieces.every(({ text }) => text !== "")).toBe(true);
          pieces.push(...delta.pieces);
          return delta.stopped;
        };
        if (!steps.some(([step, numAccepted]) => take(output.push(step, numAccepted)))) take(output.flush());

        const expected = marks(pieces).map(
          (_, unit) => accepted[texts.findIndex((text) => text.length > unit)] ?? false,
        );
        if (expected.includes(true)) numMarked++;
        expect(marks(pieces)).toEqual(expected);
      }),
      { numRuns: 2000 },
    );
    expect(numMarked).toBeGreaterThan(500);
  });

  it("gives the same text however the tokens are grouped", () => {
    fc.assert(
      fc.property(tokenIds, stopStrings, fc.array(fc.boolean()), (ids, stops, cuts) => {
        const run = (grouped: readonly (readonly number[])[]) => {
          const output = makeOutput(stops);
          let text = "";
          for (const group of grouped) {
            const delta = output.push(group, 0);
            text += delta.text;
            if (delta.stopped) return text;
          }
          return text + output.flush().text;
        };
        const grouped: number[][] = [[]];
        for (const [i, id] of ids.entries()) {
          if (cuts[i] === true) grouped.push([]);
          grouped.at(-1)?.push(id);
        }
        expect(run(grouped)).toBe(run([ids]));
      }),
      { numRuns: 1000 },
    );
  });
});
