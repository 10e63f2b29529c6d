import { createHash } from "node:crypto";
import { join } from "node:path";
import { z } from "zod";
import { publishJson, readJson } from "../../kernels/index.ts";
import type { DrafterFigures } from "../client.ts";
import type { BesideKind } from "../model/bundled.ts";

/** From then on nothing more is measured, if something has been. */
export const CHOICE_LIMIT_MS = 20_000;

export interface DrafterChoiceTools {
  readonly cacheDir: string;
  /** Milliseconds of any clock that only goes forward. */
  readonly now: () => number;
  /** How often each candidate is measured: on a machine whose speed changes, the best of it counts. */
  readonly numRounds: number;
  /** Undefined where the candidate cannot be run. */
  readonly measure: (candidate: BesideKind) => Promise<Omit<DrafterFigures, "drafter"> | undefined>;
}

/**
 * Which of several drafters decodes fastest: measured at the first start, one after the other, then a file answers. Whatever is chosen,
 * the text is the same.
 * @param dependsOn everything that the figures depend on, as JSON can hold it
 * @returns the candidates that could be run, the fastest first. Where none could, or time ran out, no file keeps that: a machine that
 *   is busy now may not be at the next start.
 */
export async function chooseDrafter(
  candidates: readonly BesideKind[],
  dependsOn: unknown,
  { cacheDir, now, numRounds, measure }: DrafterChoiceTools,
): Promise<readonly DrafterFigures[]> {
  const key = createHash("sha256").update(JSON.stringify(dependsOn)).digest("hex").slice(0, 32);
  const path = join(cacheDir, `drafter-${key}.json`);
  const schema = z
    .array(
      z.strictObject({
        drafter: z.enum(candidates),
        tokensPerSecond: z.number().positive(),
        acceptanceLength: z.number().min(1),
      }),
    )
    .min(1);
  const accept = (data: unknown) => schema.safeParse(data).data;
  const kept = accept(await readJson(path));
  if (kept !== undefined) return kept;
  const best = new Map<BesideKind, DrafterFigures>();
  const end = now() + CHOICE_LIMIT_MS;
  let isWhole = true;
  for (let round = 0; round < numRounds; round++) {
    // What could not be run once is not tried again.
    for (const drafter of round === 0 ? candidates : [...best.keys()]) {
      const isLate = best.size > 0 && now() >= end;
      if (round === 0) isWhole = !isLate;
      const measured = isLate ? undefined : await measure(drafter);
      const before = best.get(drafter)?.tokensPerSecond ?? 0;
      if (measured !== undefined && measured.tokensPerSecond > before) best.set(drafter, { drafter, ...measured });
    }
  }
  const figures = [...best.values()].sort((a, b) => b.tokensPerSecond - a.tokensPerSecond);
  if (figures.length === 0 || !isWhole) return figures;
  return publishJson<readonly DrafterFigures[]>(path, figures, accept);
}
