import { z } from "zod";
import { DRAFTER_KINDS } from "../engine/engine-options.ts";
import type { CapeStep } from "../engine/speculative/glide/cape.ts";

/** Text of a whole number, as flags and environment give it, becomes a number; anything else is judged as it is. */
export function wholeNumber(min: number, max: number) {
  const error = `must be a whole number from ${min} to ${max}`;
  return z.preprocess(
    (value) => (typeof value === "string" && /^\d{1,15}$/.test(value) ? Number(value) : value),
    z.int({ error }).min(min, { error }).max(max, { error }),
  );
}

const SHARE_ERROR = "must be a number above 0, to 1";
export const share = z.preprocess(
  (value) => (typeof value === "string" && /^\d(\.\d{1,6})?$/.test(value) ? Number(value) : value),
  z.number({ error: SHARE_ERROR }).positive({ error: SHARE_ERROR }).max(1, { error: SHARE_ERROR }),
);

export function oneOf<const T extends readonly [string, ...string[]]>(values: T) {
  return z.enum(values, { error: `must be one of ${values.join(", ")}` });
}

/** A drafter by name, or a path with a slash in it. */
export const drafterName = z.union([z.enum(DRAFTER_KINDS), z.templateLiteral([z.string(), "/", z.string()])], {
  error: `must be one of ${DRAFTER_KINDS.join(", ")}, or a path such as ./folder`,
});

export function listOf(item: z.ZodType<string>) {
  return z.array(item).default([]).readonly();
}

/** Nodes of a tree, root included. */
export const MAX_TREE_NODES = 1024;
/** Candidates of a node. */
export const MOST_CANDIDATES = 64;

/** Nodes of a tree whose nodes have so many children by depth, root included; infinite where the text says nothing like that. */
function numShapeNodes(text: string): number {
  if (!/^[1-9]\d*(,[1-9]\d*){0,63}$/.test(text)) return Number.POSITIVE_INFINITY;
  let [total, width] = [1, 1];
  for (const numChildren of text.split(",").map(Number)) {
    width *= numChildren;
    total += width;
  }
  return total;
}

/** A shape of a tree in children by depth, such as [4, 2, 2, 1], or that it is to be found out. */
export const treeShape = z
  .string()
  .refine((text) => text === "sequoia" || numShapeNodes(text) <= MAX_TREE_NODES, {
    error: `must be sequoia, or children of each node by depth such as 4,2,2,1, for ${MAX_TREE_NODES} nodes at most`,
  })
  .transform((text) => (text === "sequoia" ? text : text.split(",").map(Number)));

const CAPE_ERROR =
  "must be steps such as 0.3:7,0.6:5,1:1: rising probabilities up to 1, and 1 to 64 candidates for each";
const capeStep = z
  .string({ error: CAPE_ERROR })
  .regex(/^(?:0?\.\d{1,6}|1(?:\.0{1,6})?):[1-9]\d?$/, { error: CAPE_ERROR })
  .transform((text): CapeStep => {
    const [upTo = 0, numCandidates = 0] = text.split(":").map(Number);
    return { upTo, numCandidates };
  });

/** Candidates by a top probability, in steps whose bounds rise to 1. */
export const capeSteps = z
  .array(capeStep)
  .refine(
    (steps) =>
      steps.at(-1)?.upTo === 1 &&
      steps.every(({ upTo, numCandidates }, i) => upTo > (steps[i - 1]?.upTo ?? 0) && numCandidates <= MOST_CANDIDATES),
    { error: CAPE_ERROR },
  );

export const filledText = z.string().trim().min(1, { error: "must not be empty" });

/** A name, an IPv4 address, or an IPv6 address with brackets or without: what has one colon alone has a port. */
export const hostName = filledText.regex(/^([^:/]*|\[[\da-f:.]+\]|[\da-f.]*:[\da-f.]*:[\da-f:.]*)$/i, {
  error: "must be a host name or an IP address, without scheme or port",
});

/** Keys travel in an Authorization header, and in lists that commas separate. */
export const apiKey = z.string().regex(/^[\x21-\x2b\x2d-\x7e]+$/, {
  error: "must be printable ASCII without blanks and commas",
});
