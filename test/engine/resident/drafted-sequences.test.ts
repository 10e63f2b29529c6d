import { describe, expect, it } from "vitest";
import { DraftedSequences } from "../../../engine/resident/drafted-sequences.ts";
import type { ResidentDrafter } from "../../../engine/resident/resident-drafter.ts";
import { UnionDrafter } from "../../../engine/resident/union-drafter.ts";
import { laneBytes } from "../../../kernels/index.ts";
import type { Sequence } from "../../../scheduler/sequence.ts";
import { FAMILIES, useGpu } from "../../support/gpu.ts";

const test = useGpu();

/** Of a sequence: tokens that it has not seen, at most 3 to draft, and blocks that are left for it. */
interface State {
  unseen: number;
  blocks: number;
}

/** A drafter that needs a block for each step it drafts, with what it was asked to reserve. */
class FakeDrafter {
  readonly states = new Map<string, State>();
  readonly reserved: string[] = [];

  set(id: string, state: State): this {
    this.states.set(id, state);
    return this;
  }

  numRecent(id: string): number | undefined {
    const { unseen = 0 } = this.states.get(id) ?? {};
    return unseen >= 1 && unseen <= 3 ? unseen : undefined;
  }

  hasRoom(id: string): boolean {
    return (this.states.get(id)?.blocks ?? 0) > 0;
  }

  reserve(id: string): boolean {
    this.reserved.push(id);
    return this.hasRoom(id);
  }

  get drafter(): ResidentDrafter {
    return this as unknown as ResidentDrafter;
  }
}

const sequences = ["a", "b"].map((id) => ({ id, numTokens: 4 }) as Sequence);
const tokens = ({ numTokens }: Sequence) => numTokens;

describe("whom a run drafts for", () => {
  it("those whose text has been seen and for whom there is room; the root is all that the others take in", () => {
    const fake = new FakeDrafter().set("a", { unseen: 2, blocks: 1 }).set("b", { unseen: 9, blocks: 1 });
    const drafted = new DraftedSequences(fake.drafter);
    expect(drafted.start(sequences, 2)).toBe(true);
    expect(sequences.map(({ id }) => [drafted.has(id), drafted.numRecent(id)])).toEqual([
      [true, 2],
      [false, 1],
    ]);
    expect(fake.reserved).toEqual(["a"]);
    expect(drafted.canCatchUp(sequences)).toBe(true);
    fake.set("b", { unseen: 9, blocks: 0 });
    expect(drafted.canCatchUp(sequences)).toBe(false);
  });

  it("nobody where trees have no depth, or where there is room for none", () => {
    const fake = new FakeDrafter().set("a", { unseen: 1, blocks: 1 }).set("b", { unseen: 1, blocks: 1 });
    const drafted = new DraftedSequences(fake.drafter);
    expect(drafted.start(sequences, 0)).toBe(false);
    for (const id of ["a", "b"]) fake.set(id, { unseen: 1, blocks: 0 });
    expect(drafted.start(sequences, 2)).toBe(false);
  });

  it("a run ends when a block is lacking, or when there is room for one who had none", () => {
    const fake = new FakeDrafter().set("a", { unseen: 1, blocks: 1 }).set("b", { unseen: 1, blocks: 0 });
    const drafted = new DraftedSequences(fake.drafter);
    expect(drafted.start(sequences, 2)).toBe(true);
    expect(drafted.goOn(sequences, 2, tokens)).toBe(true);
    fake.set("b", { unseen: 9, blocks: 1 });
    expect(drafted.goOn(sequences, 2, tokens)).toBe(false);
    fake.set("b", { unseen: 9, blocks: 0 }).set("a", { unseen: 1, blocks: 0 });
    expect(drafted.goOn(sequences, 2, tokens)).toBe(false);
  });

  it("by several drafters: all of them or none, and nobody stops for one of them alone", async () => {
    const members = [new FakeDrafter(), new FakeDrafter()];
    const [first, second] = members;
    const shape = { maxNodes: 4, maxRecent: 4 };
    const gpu = test.context(FAMILIES[0]);
    const buffer = gpu.pool.storage(2 * laneBytes(shape), "lanes");
    const union = await UnionDrafter.create(
      gpu,
      members.map(({ drafter }) => ({ create: async () => drafter })),
      { ...{ maxLanes: 2, shape, buffer, isShaped: false }, ...{ tables: buffer, tableWords: 1 } },
    );
    const drafted = new DraftedSequences(union);
    for (const member of members) member.set("a", { unseen: 1, blocks: 1 });
    first?.set("b", { unseen: 9, blocks: 1 });
    second?.set("b", { unseen: 9, blocks: 0 });
    expect(drafted.start(sequences, 2)).toBe(true);
    expect(drafted.has("b")).toBe(false);
    expect(drafted.canCatchUp(sequences)).toBe(false);
    expect(drafted.goOn(sequences, 2, tokens)).toBe(true);
    second?.set("b", { unseen: 9, blocks: 1 });
    expect(drafted.goOn(sequences, 2, tokens)).toBe(false);
    expect(drafted.canCatchUp(sequences)).toBe(true);
  });
});
