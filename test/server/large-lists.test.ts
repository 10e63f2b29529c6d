import { describe, expect, it } from "vitest";
import { z } from "zod";
import { chatSchema, completionSchema } from "../../server/schemas/fields.ts";
import { listOf } from "../../server/schemas/list.ts";

const many = <T>(value: T, length = 100_000): T[] => new Array(length).fill(value);
const ask = (content: unknown) => ({ messages: [{ role: "user", content }] });

/** Of all alternatives of unions too. */
function numIssues(issues: readonly z.core.$ZodIssue[]): number {
  const inner = (issue: z.core.$ZodIssue) => (issue.code === "invalid_union" ? issue.errors.map(numIssues) : []);
  return issues.flatMap((issue) => [1, ...inner(issue)]).reduce((sum, count) => sum + count, 0);
}

describe("a long list of bad elements", () => {
  it.each<readonly [string, z.ZodType, object]>([
    ["token ids below 0", completionSchema, { prompt: many(-1) }],
    ["objects for token ids", completionSchema, { prompt: many({}) }],
    ["a list's token ids below 0", completionSchema, { prompt: [[1], many(-1)] }],
    ["lists of bad token ids", completionSchema, { prompt: many([-1]) }],
    ["texts and then numbers", completionSchema, { prompt: ["a", ...many(1)] }],
    ["empty lists", completionSchema, { prompt: many([]) }],
    ["messages", chatSchema, { messages: many({}) }],
    ["stop strings", chatSchema, { ...ask("a"), stop: many({}) }],
    ["stop token ids", chatSchema, { ...ask("a"), stop_token_ids: many({}) }],
    ["breakers of DRY", chatSchema, { ...ask("a"), dry_sequence_breakers: many({}) }],
    ["fields of canopy", chatSchema, { ...ask("a"), canopy: Object.fromEntries(many(1).map((one, i) => [i, one])) }],
    ["parts of a content", chatSchema, ask(many({}))],
    ["parts of all contents", chatSchema, { messages: many(ask(many({}, 1000)).messages[0], 1000) }],
    ["parts of a prediction", chatSchema, { ...ask("a"), prediction: { type: "content", content: many({}) } }],
  ])("%s: one issue, or what the first bad one lacks in each alternative", (_, schema, body) => {
    const issues = schema.safeParse(body).error?.issues ?? [];
    expect(issues).toHaveLength(1);
    expect(numIssues(issues)).toBeLessThanOrEqual(5);
  });

  it("is not read beyond the first", () => {
    const asked: unknown[] = [];
    const item = z.custom<number>((value) => {
      asked.push(value);
      return value === 0;
    });
    expect(
      listOf(item)
        .safeParse([0, 0, 1, 2, 3])
        .error?.issues.map(({ path }) => path),
    ).toEqual([[2]]);
    expect(new Set(asked)).toEqual(new Set([0, 1]));
    asked.length = 0;
    expect(listOf(item, { max: 4 }).safeParse([0, 0, 1, 2, 3]).success).toBe(false);
    expect(asked).toEqual([]);
  });
});

describe("a long list of good elements", () => {
  it("token ids are taken as they are, without a copy", () => {
    const prompt = many(7, 1_000_000);
    expect(completionSchema.parse({ prompt }).prompt).toBe(prompt);
  });

  it("which number is a token id", () => {
    const takes = (id: unknown) => completionSchema.safeParse({ prompt: [id] }).success;
    expect([0, 1, 2 ** 53 - 1].map(takes)).toEqual([true, true, true]);
    expect([-1, 1.5, 2 ** 53, null, true, [[]]].map(takes)).toEqual(many(false, 6));
  });
});
