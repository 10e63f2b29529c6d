import fc from "fast-check";
import { VOCAB_SIZE } from "./fake-model.ts";
import type { NewSequence, StepIncidents, World, WorldConfig } from "./world.ts";

export type Operation =
  | { readonly kind: "add"; readonly sequence: NewSequence }
  | { readonly kind: "abort"; readonly pick: number }
  | { readonly kind: "submit"; readonly seed: number }
  | { readonly kind: "settle"; readonly fails: boolean }
  | ({ readonly kind: "step"; readonly seed: number } & StepIncidents);

const token = fc.integer({ min: 0, max: VOCAB_SIZE - 1 });
/** Uniform in 0…1 (fc.double is not: most of its values are tiny). */
const share = fc.integer({ min: 0, max: 1000 }).map((n) => n / 1000);
const seed = fc.integer({ min: 0, max: 2 ** 31 });

const newSequence: fc.Arbitrary<NewSequence> = fc.record({
  beginning: fc.constantFrom("own", "own", "system", "turn", "choice", "again"),
  cacheSalt: fc.constantFrom("a", "a", "b"),
  prompt: fc.oneof(
    { weight: 3, arbitrary: fc.array(token, { minLength: 1, maxLength: 20, size: "max" }) },
    { weight: 1, arbitrary: fc.array(token, { minLength: 1, maxLength: 80, size: "max" }) },
  ),
  maxTokens: fc.oneof(
    { weight: 2, arbitrary: fc.integer({ min: 1, max: 6 }) },
    { weight: 4, arbitrary: fc.integer({ min: 30, max: 120 }) },
  ),
  stopTokenIds: fc.oneof({ weight: 4, arbitrary: fc.constant([]) }, fc.array(token, { minLength: 1, maxLength: 2 })),
  replayed: fc.oneof({ weight: 4, arbitrary: fc.constant(0) }, share),
  priority: fc.constantFrom(0, 0, 0, 1, -1),
  caller: fc.constantFrom("a", "a", "b", "c"),
});

/** Few have a deadline, as whoever ends by it is not decoded to its end. */
const maybeHurried: fc.Arbitrary<NewSequence> = fc.oneof(
  { weight: 3, arbitrary: newSequence },
  fc.tuple(newSequence, fc.integer({ min: 1, max: 30 })).map(([sequence, timeoutMs]) => ({ ...sequence, timeoutMs })),
);

/** Small pools and budgets, so that blocks run out, prompts are chunked and drafts are cut. */
export const worldConfig: fc.Arbitrary<WorldConfig> = fc.record({
  numBlocks: fc.oneof(fc.integer({ min: 2, max: 5 }), fc.integer({ min: 6, max: 16 })),
  maxNumSeqs: fc.oneof(fc.integer({ min: 1, max: 3 }), fc.integer({ min: 4, max: 8 })),
  numExtraRows: fc.oneof(fc.integer({ min: 0, max: 8 }), fc.integer({ min: 0, max: 64 })),
  maxModelLen: fc.integer({ min: 16, max: 200 }),
  maxTreeNodes: fc.integer({ min: 1, max: 10 }),
  prefixCache: fc.oneof({ weight: 3, arbitrary: fc.constant(true) }, { weight: 1, arbitrary: fc.constant(false) }),
});

function step(incidents: {
  readonly fails: fc.Arbitrary<boolean>;
  readonly abortPicks: fc.Arbitrary<readonly number[]>;
}): fc.Arbitrary<Operation> {
  return fc.record({ kind: fc.constant("step" as const), seed, ...incidents });
}

const operation: fc.Arbitrary<Operation> = fc.oneof(
  { weight: 4, arbitrary: fc.record({ kind: fc.constant("add"), sequence: maybeHurried }) },
  { weight: 1, arbitrary: fc.record({ kind: fc.constant("abort"), pick: share }) },
  { weight: 25, arbitrary: fc.record({ kind: fc.constant("submit"), seed }) },
  { weight: 10, arbitrary: fc.record({ kind: fc.constant("settle"), fails: fc.constant(false) }) },
  { weight: 1, arbitrary: fc.record({ kind: fc.constant("settle"), fails: fc.constant(true) }) },
  { weight: 15, arbitrary: step({ fails: fc.constant(false), abortPicks: fc.constant([]) }) },
  {
    weight: 1,
    arbitrary: step({ fails: fc.constant(false), abortPicks: fc.array(share, { minLength: 1, maxLength: 3 }) }),
  },
  { weight: 1, arbitrary: step({ fails: fc.constant(true), abortPicks: fc.array(share, { maxLength: 1 }) }) },
);

export const operations: fc.Arbitrary<Operation[]> = fc.array(operation, { maxLength: 200, size: "max" });

/** Applies one operation; the queues and the cache must be sound after each. */
export function apply(world: World, op: Operation): void {
  if (op.kind === "add") world.add(op.sequence);
  else if (op.kind === "abort") world.abort(op.pick);
  else if (op.kind === "submit") world.submit(op.seed);
  else if (op.kind === "settle") world.settle(op.fails);
  else world.step(op.seed, op);
  world.scheduler.checkIntegrity();
}
