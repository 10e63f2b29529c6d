import { rmsNormReference } from "./add-rms-norm.ts";

/** A row of EAGLE-3's layer: its token, and the slot of its feature, the drafter's own or one of the target's. */
export interface Eagle3Row {
  readonly tokenId: number;
  readonly slot: number;
  readonly isOwn: boolean;
}

/** Rows [numRows, size]: the target's levels at each row's slot, zeros where its feature is the drafter's own. */
export function eagle3LevelsReference(levels: Float32Array, size: number, rows: readonly Eagle3Row[]): Float32Array {
  const out = new Float32Array(rows.length * size);
  for (const [row, { slot, isOwn }] of rows.entries()) {
    if (!isOwn) out.set(levels.subarray(slot * size, (slot + 1) * size), row * size);
  }
  return out;
}

/**
 * The input of EAGLE-3's layer, [norm(embedding), norm(feature)] of each row, and the residual stream, which begins with the feature.
 * @param features fused f32 [numRows, size], own f32 [numSlots, size]; gains f32 [2, size]
 */
export function eagle3InputReference(
  table: Float32Array,
  size: number,
  rows: readonly Eagle3Row[],
  features: { readonly fused: Float32Array; readonly own: Float32Array },
  { gains, epsilon }: { readonly gains: Float32Array; readonly epsilon: number },
): { readonly x: Float64Array; readonly hidden: Float32Array } {
  const x = new Float64Array(rows.length * 2 * size);
  const hidden = new Float32Array(rows.length * size);
  for (const [row, { tokenId, slot, isOwn }] of rows.entries()) {
    const from = isOwn ? slot : row;
    const feature = (isOwn ? features.own : features.fused).subarray(from * size, (from + 1) * size);
    const embedded = table.subarray(tokenId * size, (tokenId + 1) * size);
    x.set(rmsNormReference(embedded, gains.subarray(0, size), epsilon), 2 * row * size);
    x.set(rmsNormReference(feature, gains.subarray(size), epsilon), (2 * row + 1) * size);
    hidden.set(feature, row * size);
  }
  return { x, hidden };
}
