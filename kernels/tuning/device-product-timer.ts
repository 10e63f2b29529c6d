import type { GpuContext } from "../gpu-context.ts";
import { matmul } from "../ops/matmul.ts";
import { type Activation, activationBytes, type Product, paddedOutputs, paddedRows } from "../ops/product.ts";
import { siluMul } from "../ops/silu-mul.ts";
import { PassTimer } from "../pass-timer.ts";
import type { ModelProduct } from "./kernel-choice.ts";
import type { ProductTimer, Variant } from "./search.ts";

/** Layers that a pass goes through: their weights are not in any cache when their turn comes, as in a model. */
const MAX_MATRICES = 8;
/** Of all variants in turn, so that changing clocks fall on all alike; the median counts. */
const ROUNDS = 5;
/** An idle GPU takes a while to speed up. */
const WARM_UP_MS = 200;
/** Partial sums at most. */
const MAX_PARTS_BYTES = 2 ** 28;

type Encode = (pass: GPUComputePassEncoder) => void;

/** What a product reads and writes, and what its reader writes. */
interface Scratch {
  readonly x: GPUBuffer;
  readonly y: GPUBuffer;
  readonly out: GPUBuffer;
}

/** Measures products of real weights by the device's own clock (feature timestamp-query). */
export class DeviceProductTimer implements ProductTimer {
  readonly #gpu: GpuContext;
  readonly #now: () => number;
  #isWarm = false;

  /** @param now milliseconds of any clock that only goes forward */
  constructor(gpu: GpuContext, now: () => number) {
    this.#gpu = gpu;
    this.#now = now;
  }

  /** Variants that need too much memory have no answer, nor have those that a coarse clock does not see. @throws GpuError */
  async time(product: ModelProduct, variants: readonly Variant[]): Promise<readonly number[]> {
    const { pool } = this.#gpu;
    const times = variants.map(() => Number.NaN);
    const possible = [...variants.entries()].filter(([, variant]) => this.#partsBytes(product, variant) <= this.#limit);
    if (possible.length === 0) return times;
    // Guarded, so that too little memory ends the search and not the device's use.
    const made: { scratch?: Scratch; timer?: PassTimer } = {};
    try {
      await this.#gpu.guard.run(async () => {
        made.scratch = this.#scratch(
          product,
          possible.map(([, variant]) => variant),
        );
        made.timer = new PassTimer(this.#gpu.device, pool, possible.length);
      });
      const { scratch, timer } = made;
      if (scratch === undefined || timer === undefined) throw new Error("invariant: the guard ran nothing");
      const passes = await Promise.all(possible.map(([, variant]) => this.#pass(product, variant, scratch)));
      await this.#warmUp(passes, timer);
      const rounds: number[][] = [];
      for (let round = 0; round < ROUNDS; round++) rounds.push(await this.#round(passes, timer));
      for (const [i, [at]] of possible.entries()) {
        const ms = median(rounds.map((round) => round[i] ?? Number.NaN));
        times[at] = ms > 0 ? ms : Number.NaN;
      }
    } finally {
      made.timer?.destroy();
      for (const buffer of Object.values(made.scratch ?? {})) pool.destroy(buffer);
    }
    return times;
  }

  get #limit(): number {
    return Math.min(MAX_PARTS_BYTES, this.#gpu.pool.maxBytes);
  }

  #partsBytes({ shape }: ModelProduct, { numRows, numRanges }: Variant): number {
    const { family } = this.#gpu;
    return 4 * numRanges * paddedRows(family, numRows) * paddedOutputs(family, shape.numOutputs);
  }

  /** Buffers that every variant finds room in. What they hold does not matter to the time. */
  #scratch(product: ModelProduct, variants: readonly Variant[]): Scratch {
    const { pool, family } = this.#gpu;
    const rows = paddedRows(family, Math.max(...variants.map(({ numRows }) => numRows)));
    const parts = Math.max(...variants.map((variant) => this.#partsBytes(product, variant)));
    const read = activationBytes(family, rows, paddedOutputs(family, product.shape.numOutputs));
    return {
      x: pool.storage(activationBytes(family, rows, product.shape.numInputs), "measured x"),
      y: pool.storage(parts, "measured y"),
      out: pool.storage(read, "measured out"),
    };
  }

  /** A pass through layers: each one's product and, where it has ranges to add, a kernel that reads it. */
  async #pass(
    { shape, whole, matrices }: ModelProduct,
    { numRows, rowTile, numRanges }: Variant,
    scratch: Scratch,
  ): Promise<Encode> {
    const context = { ...this.#gpu, family: { ...this.#gpu.family, rowTiles: [rowTile] } };
    const maxRows = paddedRows(context.family, numRows);
    const numOutputs = paddedOutputs(context.family, shape.numOutputs);
    const x: Activation = { buffer: scratch.x, maxRows, numInputs: shape.numInputs };
    const y: Product = { buffer: scratch.y, maxRows, numOutputs, numRanges };
    const products = Promise.all(matrices.slice(0, MAX_MATRICES).map((weights) => matmul(context, { weights, x, y })));
    // Stands for all consumers: it reads every partial sum once, as they do.
    const out: Activation = { buffer: scratch.out, maxRows, numInputs: numOutputs / 2 };
    const reads = context.family.name === "matrix" && !whole;
    const reader = reads ? await siluMul(context, { gateUp: y, out }) : undefined;
    const ops = (await products).flatMap((op) => (reader ? [op, reader] : [op]));
    return (pass) => {
      for (const op of ops) op(pass, { numRows, numSplits: 1, numLogits: 0 });
    };
  }

  async #warmUp(passes: readonly Encode[], timer: PassTimer): Promise<void> {
    if (this.#isWarm) return;
    for (const start = this.#now(); this.#now() - start < WARM_UP_MS; ) await this.#round(passes, timer);
    this.#isWarm = true;
  }

  /** Milliseconds of each pass. */
  #round(passes: readonly Encode[], timer: PassTimer): Promise<number[]> {
    const { device, guard } = this.#gpu;
    return guard.run(() => {
      const encoder = device.createCommandEncoder();
      for (const [i, encode] of passes.entries()) {
        const pass = encoder.beginComputePass({ timestampWrites: timer.writes(i) });
        encode(pass);
        pass.end();
      }
      timer.resolve(encoder);
      device.queue.submit([encoder.finish()]);
      return timer.read();
    });
  }
}

function median(values: readonly number[]): number {
  return values.toSorted((a, b) => a - b)[values.length >> 1] ?? Number.NaN;
}
