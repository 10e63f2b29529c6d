import { describe, expect, it } from "vitest";
import { laneBudget, laneRows, readLane } from "../../../kernels/index.ts";
import { laneBytes, laneLayout, packLanes } from "../../../kernels/ops/lanes.ts";
import { laneBudgetReference } from "../../../kernels/reference/lane-budget.ts";
import { treeFrom } from "../../engine/speculative/trees.ts";
import { FAMILIES, submit, useGpu } from "../../support/gpu.ts";
import { Random } from "../../support/random.ts";
import {
  hostBatch,
  idleRow,
  randomLanes,
  randomRows,
  randomTree,
  seenRow,
  seenSample,
  uploadBatch,
  uploadLanes,
} from "./lane-case.ts";

const test = useGpu();
const context = () => test.context(FAMILIES[0]);

describe("lane_budget", () => {
  it("keeps the best nodes of all lanes together, ties by lane and node, and gives them rows without a gap", async () => {
    const gpu = context();
    const random = new Random(3);
    let numShared = 0;
    for (const [maxNodes, maxLanes] of [
      [2, 3],
      [16, 8],
      [40, 70],
      [1024, 5],
    ] as const) {
      const shape = { maxNodes, maxRecent: 5 };
      for (let round = 0; round < 12; round++) {
        const numLanes = random.int(1, maxLanes);
        const numNodes = random.int(1, maxNodes);
        // Few values, so that many are equal; 0 is a certain node's, the lowest ones hardly are numbers.
        const values = [0, -1e-30, -0.125, -0.5, -3, -87.25, -3e38];
        const scores = Array.from({ length: numLanes }, () =>
          Array.from({ length: random.int(0, numNodes - 1) }, () =>
            random.next() < 0.5 ? (values[random.int(0, values.length - 1)] ?? 0) : -8 * Math.fround(random.next()),
          ).sort((a, b) => b - a),
        );
        const trees = scores.map(({ length }) =>
          treeFrom(
            0,
            Array.from({ length }, (_, i) => [i, i] as const),
          ),
        );
        const dead = random.int(0, 2 * numLanes);
        const buffer = uploadLanes(gpu, shape, randomLanes(random, numLanes, trees, 5), dead);
        const { numWords, tree } = laneLayout(shape);
        for (const [lane, ofLane] of scores.entries()) {
          const at = 4 * (lane * numWords + tree + 4 * maxNodes + 1);
          gpu.device.queue.writeBuffer(buffer, at, Float32Array.from(ofLane));
        }
        const budget = random.int(0, 1 + scores.flat().length);
        const op = await laneBudget(gpu, shape, buffer, maxLanes);
        const params = { numLanes, numNodes, numRows: numLanes + budget };
        await submit(gpu, [(pass) => op(pass, params)]);
        const bytes = await gpu.pool.read(buffer, 0, numLanes * laneBytes(shape));
        const kept = laneBudgetReference(
          scores.map((ofLane, lane) => (lane === dead ? [] : ofLane)),
          budget,
        );
        let firstRow = 0;
        for (const [lane, numKept] of kept.entries()) {
          expect(readLane(shape, bytes, lane)).toMatchObject({ firstRow });
          expect(readLane(shape, bytes, lane).tree.tokenIds).toHaveLength(numKept);
          firstRow += numKept;
        }
        expect(firstRow).toBeLessThanOrEqual(numLanes + budget);
        if (new Set(kept).size > 1) numShared++;
      }
    }
    expect(numShared).toBeGreaterThan(10);
  });
});

describe("lane_rows", () => {
  it("writes what the host writes; rows of no node, and dead lanes, idle", async () => {
    const gpu = context();
    const random = new Random(1);
    for (const [maxNodes, maxRecent] of [
      [1, 1],
      [8, 7],
      [13, 4],
    ] as const) {
      const shape = { maxNodes, maxRecent };
      for (let round = 0; round < 12; round++) {
        const numLanes = random.int(1, 6);
        const numNodes = random.int(1, maxNodes);
        const trees = Array.from({ length: numLanes }, () => randomTree(random, numNodes, maxRecent - 1));
        const lanes = randomLanes(random, numLanes, trees, maxRecent);
        const { rows, numRows } = randomRows(random, trees, numNodes);
        const dead = random.int(0, 2 * numLanes);
        const { batch, layout } = uploadBatch(gpu, lanes, numRows, maxRecent - 1);
        const op = await laneRows(gpu, shape, uploadLanes(gpu, shape, lanes, dead, rows), batch);
        await submit(gpu, [(pass) => op(pass, { numLanes, numNodes, numRows })]);
        const bytes = await gpu.pool.read(batch.buffer, 0, layout.numBytes);
        const host = hostBatch(lanes, () => 1);
        let at = 0;
        for (const [i, lane] of lanes.entries()) {
          const { firstRow = 0, numKept = 0 } = rows[i] ?? {};
          const end = rows[i + 1]?.firstRow ?? numRows;
          for (let row = firstRow; row < end; row++) {
            const isThere = row < firstRow + numKept && i !== dead;
            const hostRow = at + row - firstRow;
            expect(seenRow(bytes, layout, row)).toEqual(
              isThere ? seenRow(host.bytes, host.layout, hostRow) : idleRow(lane),
            );
            const sample = seenSample(bytes, layout, row);
            expect(sample.row).toBe(row);
            if (isThere) expect(sample.parameters).toEqual(seenSample(host.bytes, host.layout, hostRow).parameters);
          }
          at += lane.tree.tokenIds.length;
        }
      }
    }
  });
});

describe("packed lanes", () => {
  it("must have at least one recent token, and no more than fit", () => {
    const lane = {
      isDrafted: true,
      sampling: { seed: [0, 0], choice: 0, position: 0, temperature: 0, topP: 1, minP: 0, topK: 0, typicalP: 1 },
    } as const;
    const shape = { maxNodes: 2, maxRecent: 2 };
    expect(() => packLanes(shape, [{ ...lane, numTokens: 4, recent: [] }])).toThrow(/lane 0 has 0 recent/);
    expect(() => packLanes(shape, [{ ...lane, numTokens: 4, recent: [1, 2, 3] }])).toThrow(/lane 0 has 3 recent/);
    const bytes = packLanes(shape, [{ ...lane, numTokens: 4, recent: [1, 2] }]).buffer;
    expect(readLane(shape, bytes, 0)).toMatchObject({
      ...{ alive: true, numTokens: 4, emitted: [1, 2] },
      tree: { tokenIds: [2], parents: [0], depths: [0], logSurvivals: [0], proposers: [0] },
      ...{ numDrafted: 1, firstRow: 0 },
    });
  });
});
