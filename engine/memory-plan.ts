import { totalmem } from "node:os";
import { numBlocksFor } from "../kvcache/ids.ts";
import { EngineOptionsError } from "./errors.ts";

const GIB = 2 ** 30;
/** What the KV cache takes at most where nobody has said how much memory there is to take. */
const DEFAULT_KV_BYTES = GIB;

/** One ledger for target and drafter: what is there, what is taken, and what a block of the KV cache takes in all of them. */
export interface MemoryLedger {
  /** Bytes that may be taken in all; undefined where the device's memory is not known. */
  readonly capacityBytes: number | undefined;
  /** Weights of all models. */
  readonly weightBytes: number;
  /** Bytes of one block in each model's cache, with the model's name. */
  readonly blockBytes: readonly (readonly [name: string, bytes: number])[];
  /** Bytes that can be bound as one buffer. */
  readonly maxBoundBytes: number;
  /** Bytes of one block in each of the parts that cannot be cut into several buffers, with what they hold: the largest limits the blocks. */
  readonly boundBlockBytes: readonly (readonly [what: string, bytes: number])[];
}

export interface KvWishes {
  /** Blocks that were asked for, the reserved one included. */
  readonly numKvBlocks?: number;
  readonly maxNumSeqs: number;
  /** Slots of the longest sequence, lookahead included. */
  readonly maxSlots: number;
  /** All that is left may be taken, not just `DEFAULT_KV_BYTES`. */
  readonly takesAll: boolean;
}

/**
 * Bytes that target and drafter may take together. WebGPU does not tell how much memory a device has: it is what the option says
 * or, for an adapter that works in the machine's memory, what that has for this process.
 * @param gpuMemory GiB
 */
export function memoryCapacity(
  { gpuMemory, gpuMemoryUtilization }: { readonly gpuMemory?: number; readonly gpuMemoryUtilization: number },
  isSoftware: boolean,
): number | undefined {
  const total = gpuMemory === undefined ? (isSoftware ? machineBytes() : undefined) : gpuMemory * GIB;
  return total === undefined ? undefined : Math.floor(total * gpuMemoryUtilization);
}

/** A container may have less than the machine. */
function machineBytes(): number {
  const constrained = process.constrainedMemory?.() ?? 0;
  return constrained > 0 ? Math.min(constrained, totalmem()) : totalmem();
}

/**
 * Blocks of the KV cache, the reserved one included: as asked for, or enough for every sequence of the batch, as far as the memory
 * goes and one head's keys can be bound as one buffer.
 * @throws EngineOptionsError with the numbers where that does not fit
 */
export function planKvBlocks(ledger: MemoryLedger, wishes: KvWishes): number {
  const { capacityBytes = Number.POSITIVE_INFINITY, weightBytes, blockBytes } = ledger;
  const perBlock = blockBytes.reduce((sum, [, bytes]) => sum + bytes, 0);
  const left = capacityBytes - weightBytes;
  const mostBytes = wishes.takesAll ? left : Math.min(left, DEFAULT_KV_BYTES);
  const perSequence = numBlocksFor(wishes.maxSlots);
  const affordable = Math.max(1, Math.min(bindableBlocks(ledger), Math.floor(mostBytes / perBlock)) - 1);
  const numBlocks = wishes.numKvBlocks ?? 1 + Math.min(wishes.maxNumSeqs * perSequence, affordable);
  if (numBlocks * perBlock <= left) return checkBindable(ledger, numBlocks);
  const parts = blockBytes.map(([name, bytes]) => `${name} ${formatBytes(numBlocks * bytes)}`);
  throw new EngineOptionsError(
    `${numBlocks} KV blocks need ${formatBytes(numBlocks * perBlock)} (${parts.join(", ")}) beside weights of ${formatBytes(weightBytes)}, but ` +
      `${formatBytes(capacityBytes)} may be used; use fewer --kv-blocks, a smaller --max-model-len, or set --gpu-memory and --gpu-memory-utilization`,
  );
}

/** Blocks whose share of every part can be bound. */
function bindableBlocks(ledger: MemoryLedger): number {
  return Math.floor(ledger.maxBoundBytes / largestBound(ledger)[1]);
}

/** What has most bytes of a block. */
function largestBound({ boundBlockBytes }: MemoryLedger): readonly [what: string, bytes: number] {
  return boundBlockBytes.reduce((most, one) => (one[1] > most[1] ? one : most));
}

/** @throws EngineOptionsError where one of the parts is too large */
function checkBindable(ledger: MemoryLedger, numBlocks: number): number {
  const most = bindableBlocks(ledger);
  if (numBlocks <= most) return numBlocks;
  const [what, bytes] = largestBound(ledger);
  throw new EngineOptionsError(
    `${numBlocks} KV blocks need ${formatBytes(numBlocks * bytes)} for ${what}, but this adapter binds at most ` +
      `${formatBytes(ledger.maxBoundBytes)} as one buffer; use at most ${most} --kv-blocks`,
  );
}

/** @throws EngineOptionsError where weights, KV caches and the passes' buffers together take more than they may */
export function checkMemory(capacityBytes: number | undefined, totalBytes: number): void {
  if (capacityBytes === undefined || totalBytes <= capacityBytes) return;
  throw new EngineOptionsError(
    `weights, KV cache and buffers take ${formatBytes(totalBytes)}, but ${formatBytes(capacityBytes)} may be used; use fewer --kv-blocks, ` +
      "a smaller --token-budget or --max-model-len, or set --gpu-memory and --gpu-memory-utilization",
  );
}

function formatBytes(bytes: number): string {
  const [unit, name] = bytes >= GIB ? [GIB, "GiB"] : [2 ** 20, "MiB"];
  return `${(bytes / unit).toFixed(2)} ${name}`;
}
