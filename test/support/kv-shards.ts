import type { LayerKv } from "../../engine/runner/kv-storage.ts";

/** Keys and values of a layer, shard by shard. */
export function cachesOf(layer: LayerKv) {
  return layer.flatMap(({ kCache, vCache }) => [kCache, vCache]);
}

/**
 * Keys or values by slot [numSlots, numKvHeads, headSize], cut into `numShards` by heads as a cache of several shards holds them:
 * [numSlots, numKvHeads / numShards, headSize] each.
 */
export function cutHeads<Values extends Float32Array | Float64Array | Uint32Array>(
  values: Values,
  {
    numKvHeads,
    headSize,
    numShards,
  }: { readonly numKvHeads: number; readonly headSize: number; readonly numShards: number },
): Values[] {
  const shardOf = (i: number) => Math.floor((Math.floor(i / headSize) % numKvHeads) / (numKvHeads / numShards));
  return Array.from({ length: numShards }, (_, shard) => values.filter((_, i) => shardOf(i) === shard) as Values);
}
