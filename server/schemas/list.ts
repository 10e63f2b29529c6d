import { z } from "zod";

export interface ListRules {
  /** Number of elements. */
  readonly min?: number;
  readonly max?: number;
  /** Whether the item's schema takes an element: for lists so long that asking the schema itself would take its time. */
  readonly isItem?: (element: unknown) => boolean;
}

/**
 * A list of what `item` takes as it is. Its number of elements is looked at before they are, and the first bad one ends the check:
 * `z.array` makes an issue for every bad element, and a body has room for millions of them.
 */
export function listOf<T>(item: z.ZodType<T>, rules: ListRules = {}) {
  const { min = 0, max = Number.POSITIVE_INFINITY, isItem = (element) => item.safeParse(element).success } = rules;
  return z.custom<T[]>().check(({ value, issues }) => {
    const list: unknown = value;
    if (!Array.isArray(list)) issues.push({ code: "invalid_type", expected: "array", input: list });
    else if (list.length > max)
      issues.push({ code: "too_big", origin: "array", maximum: max, inclusive: true, input: list });
    else if (list.length < min)
      issues.push({ code: "too_small", origin: "array", minimum: min, inclusive: true, input: list });
    else {
      const at = list.findIndex((element) => !isItem(element));
      if (at >= 0) issues.push(...issuesOf(item, list[at], [at]));
    }
  });
}

/** What is judged by a schema that depends on it. */
export function chosenBy<T>(choose: (value: unknown) => z.ZodType<T>) {
  return z.custom<T>().check(({ value, issues }) => {
    issues.push(...issuesOf(choose(value), value));
  });
}

/** They have their messages, so that zod needs no input to make some. */
function issuesOf(schema: z.ZodType, value: unknown, at: readonly PropertyKey[] = []): z.core.$ZodRawIssue[] {
  const issues = schema.safeParse(value).error?.issues ?? [];
  return issues.map((issue) => ({ ...issue, path: [...at, ...issue.path] }) as z.core.$ZodRawIssue);
}
