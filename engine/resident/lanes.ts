import { aliveOffset, type LaneShape, type LaneStart, laneBytes, packLanes } from "../../kernels/index.ts";
import { invariant } from "../../kvcache/invariant.ts";
import type { Sequence } from "../../scheduler/sequence.ts";

/** The lanes of a run on the device: whose they are, and which of them idle because their sequences have ended. */
export class Lanes {
  readonly #device: GPUDevice;
  /** Lane [maxLanes] (wgsl/lanes.wgsl) */
  readonly buffer: GPUBuffer;
  readonly #shape: LaneShape;
  #count = 0;
  /** Lanes that do not idle. */
  readonly #laneOf = new Map<Sequence, number>();

  constructor(device: GPUDevice, buffer: GPUBuffer, shape: LaneShape) {
    this.#device = device;
    this.buffer = buffer;
    this.#shape = shape;
  }

  /** Idle ones included. */
  get count(): number {
    return this.#count;
  }

  /** Bytes of all of them. */
  get size(): number {
    return this.#count * laneBytes(this.#shape);
  }

  /** A lane for each, in this order. */
  start(sequences: readonly Sequence[], lanes: readonly LaneStart[]): void {
    this.end();
    for (const [lane, sequence] of sequences.entries()) this.#laneOf.set(sequence, lane);
    this.#count = sequences.length;
    this.#device.queue.writeBuffer(this.buffer, 0, packLanes(this.#shape, lanes));
  }

  /**
   * From the next submit on all other lanes idle: their rows read and write nothing of anyone's.
   * @returns lanes of these sequences, in their order
   */
  keep(sequences: readonly Sequence[]): readonly number[] {
    const kept = new Set(sequences);
    for (const [sequence, lane] of this.#laneOf) {
      if (kept.has(sequence)) continue;
      this.#device.queue.writeBuffer(
        this.buffer,
        lane * laneBytes(this.#shape) + aliveOffset(this.#shape),
        new Uint32Array(1),
      );
      this.#laneOf.delete(sequence);
    }
    return sequences.map((sequence) => {
      const lane = this.#laneOf.get(sequence);
      invariant(lane !== undefined, () => `${sequence.id} goes on, but has no lane`);
      return lane;
    });
  }

  end(): void {
    this.#count = 0;
    this.#laneOf.clear();
  }
}
