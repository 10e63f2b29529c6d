import { type DryPenalty, type LogitsProcessor, MAX_DRY_MATCH } from "../ops/logits-processors.ts";

/**
 * One row's logits as they are drawn from: those of the token at `position`, after all that is known and `path`, the tokens of
 * its draft tree from below the root. NaN where a token may not be drawn. In f64.
 */
export function processedLogits(
  logits: ArrayLike<number>,
  processor: LogitsProcessor,
  path: readonly number[],
): Float64Array {
  const { numPromptTokens, tokenIds } = processor;
  const followed = [...tokenIds, ...path];
  const biases = new Map(processor.logitBias);
  const prompt = new Set(followed.slice(0, numPromptTokens));
  const times = new Map<number, number>();
  for (const token of followed.slice(numPromptTokens)) times.set(token, (times.get(token) ?? 0) + 1);
  const dry = processor.dry ? dryPenalties(followed, processor.dry) : new Map<number, number>();
  const ends = new Set(followed.length < processor.minPosition ? processor.endTokenIds : []);
  return Float64Array.from(logits, (logit, token) => {
    if (ends.has(token)) return Number.NaN;
    let l = logit + (biases.get(token) ?? 0);
    const count = times.get(token) ?? 0;
    if (count > 0 || prompt.has(token)) {
      l = l > 0 ? l / processor.repetitionPenalty : l * processor.repetitionPenalty;
    }
    l -= processor.frequencyPenalty * count;
    if (count > 0) l -= processor.presencePenalty;
    return l - (dry.get(token) ?? 0);
  });
}

/** What DRY takes off each token's logit after `tokenIds`. */
export function dryPenalties(
  tokenIds: readonly number[],
  { multiplier, base, allowedLength, range, breakers }: DryPenalty,
): Map<number, number> {
  const window = range === undefined ? tokenIds : tokenIds.slice(Math.max(0, tokenIds.length - range));
  const breaking = new Set(breakers);
  const penalties = new Map<number, number>();
  for (const [i, token] of window.slice(1).entries()) {
    let length = 0;
    for (; length <= i && length < MAX_DRY_MATCH; length++) {
      const last = window.at(-1 - length) ?? -1;
      if (window[i - length] !== last || breaking.has(last)) break;
    }
    if (length < allowedLength || length === 0 || breaking.has(token)) continue;
    const penalty = multiplier * base ** (length - allowedLength);
    penalties.set(token, Math.max(penalties.get(token) ?? 0, penalty));
  }
  return penalties;
}
