import { type GpuContext, type LaneOp, laneUnionBytes, laneUnite } from "../../kernels/index.ts";
import type { SamplingWants } from "../runner/request-sampling.ts";
import type { TreeShape } from "../speculative/tree-shape.ts";
import type { DeviceDrafting } from "./device-drafting.ts";
import type { DraftedLanes, DraftedSequence, ResidentDrafter, StepSize } from "./resident-drafter.ts";
import { ShapeTable } from "./shape-table.ts";

/** Several drafters one after the other, each into the same lanes, and one tree of all that they propose. */
export class UnionDrafter implements ResidentDrafter {
  readonly #members: readonly ResidentDrafter[];
  /** Of each member, what takes its trees in. */
  readonly #unite: readonly LaneOp[];
  /** Where trees have shapes. */
  readonly #shapes: ShapeTable | undefined;

  private constructor(members: readonly ResidentDrafter[], unite: readonly LaneOp[], shapes: ShapeTable | undefined) {
    this.#members = members;
    this.#unite = unite;
    this.#shapes = shapes;
  }

  /** @throws GpuError, RangeError where a member was made for fewer lanes */
  static async create(
    gpu: GpuContext,
    draftings: readonly DeviceDrafting[],
    lanes: DraftedLanes,
  ): Promise<UnionDrafter> {
    const { shape, maxLanes, buffer, isShaped } = lanes;
    const numMembers = draftings.length;
    const topK = Math.max(1, shape.maxNodes - 1);
    const shapes = isShaped ? new ShapeTable(gpu, shape.maxNodes, topK) : undefined;
    const given = shapes && { children: shapes.buffer, topK };
    const buffers = { lanes: buffer, unions: gpu.pool.storage(maxLanes * laneUnionBytes(shape, numMembers), "unions") };
    const [members, unite] = await Promise.all([
      Promise.all(draftings.map((drafting) => drafting.create(gpu, lanes))),
      Promise.all(draftings.map((_, member) => laneUnite(gpu, shape, buffers, { member, numMembers }, given))),
    ]);
    return new UnionDrafter(members, unite, shapes);
  }

  /** Members draft trees of the shape, and so has the tree of all of them. */
  shapeTrees(shape: TreeShape): void {
    for (const member of this.#members) member.shapeTrees(shape);
    this.#shapes?.send(shape);
  }

  /** What one of them has seen already, it computes once more. */
  numRecent(id: string, numTokens: number): number | undefined {
    let most = 0;
    for (const member of this.#members) {
      const numRecent = member.numRecent(id, numTokens);
      if (numRecent === undefined) return undefined;
      most = Math.max(most, numRecent);
    }
    return most;
  }

  /** They draft for a sequence together or not at all. */
  hasRoom(id: string, numTokens: number): boolean {
    return this.#members.every((member) => member.hasRoom(id, numTokens));
  }

  reserve(id: string, numTokens: number, depth: number): boolean {
    return this.#members.every((member) => member.reserve(id, numTokens, depth));
  }

  start(sequences: readonly DraftedSequence[]): void {
    for (const member of this.#members) member.start(sequences);
  }

  hold(): void {
    for (const member of this.#members) member.hold();
  }

  release(): void {
    for (const member of this.#members) member.release();
  }

  isReady(wants: SamplingWants): boolean {
    return this.#members.every((member) => member.isReady(wants));
  }

  sendTables(): void {
    for (const member of this.#members) member.sendTables();
  }

  encode(pass: GPUComputePassEncoder, size: StepSize, wants: SamplingWants): void {
    const { numLanes, numNodes } = size;
    for (const [i, member] of this.#members.entries()) {
      member.encode(pass, size, wants);
      this.#unite[i]?.(pass, { numLanes, numNodes });
    }
  }

  commit(lane: number, numTokens: number): void {
    for (const member of this.#members) member.commit(lane, numTokens);
  }

  end(): void {
    for (const member of this.#members) member.end();
  }
}
