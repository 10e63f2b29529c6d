import { expect } from "vitest";
import { LaneTables } from "../../../engine/resident/lane-tables.ts";
import type { ResidentDrafter } from "../../../engine/resident/resident-drafter.ts";
import type { RequestSampling, SamplingWants } from "../../../engine/runner/request-sampling.ts";
import { deepest } from "../../../engine/speculative/draft-limits.ts";
import { DraftModelProposer } from "../../../engine/speculative/draft-model.ts";
import type { DraftTree } from "../../../engine/speculative/draft-tree.ts";
import { hasComputedAllButRoot } from "../../../engine/speculative/draft-view.ts";
import type { Hints, ProposeRequest, Proposer } from "../../../engine/speculative/proposer.ts";
import { verifiedLane } from "../../../engine/step.ts";
import { type GpuContext, laneBytes, packLanes, readLane, submitPass } from "../../../kernels/index.ts";

export interface DeviceDraftSizes {
  /** Sequences of one proposal. */
  readonly maxLanes: number;
  readonly treeNodes: number;
  readonly treeDepth: number;
  /** Blocks of the target's longest table. */
  readonly tableWords: number;
  readonly maxModelLen: number;
  /** The target's. */
  readonly requestSampling: RequestSampling | undefined;
}

/**
 * Two proposers of the same kind, the second of which drafts as the loop on the device does wherever that would draft: from lanes
 * and from what the target has computed. Both must give the same trees, node by node.
 */
export class OnBothSides implements Proposer {
  readonly #host: Proposer;
  readonly #device: Proposer;
  readonly #draft: DeviceDraft;
  /** Trees with draft nodes that came from the device. */
  numOnDevice = 0;

  private constructor(host: Proposer, device: Proposer, draft: DeviceDraft) {
    this.#host = host;
    this.#device = device;
    this.#draft = draft;
  }

  static async create(
    gpu: GpuContext,
    host: Proposer,
    device: Proposer,
    sizes: DeviceDraftSizes,
  ): Promise<OnBothSides> {
    return new OnBothSides(host, device, await DeviceDraft.create(gpu, device, sizes));
  }

  get name(): string {
    return this.#host.name;
  }

  begin(id: string, tokenIds: readonly number[], hints?: Hints): void {
    for (const side of [this.#host, this.#device]) side.begin(id, tokenIds, hints);
  }

  async propose(requests: readonly ProposeRequest[]): Promise<readonly DraftTree[]> {
    const [wanted, got] = await Promise.all([this.#host.propose(requests), this.#proposeThere(requests)]);
    expect(got).toEqual(wanted);
    return wanted;
  }

  observe(id: string, tokenIds: readonly number[]): void {
    for (const side of [this.#host, this.#device]) side.observe(id, tokenIds);
  }

  end(id: string): void {
    for (const side of [this.#host, this.#device]) side.end(id);
  }

  close(): void {
    for (const side of [this.#host, this.#device]) side.close();
  }

  /** Requests of equal sizes have a step together. */
  async #proposeThere(requests: readonly ProposeRequest[]): Promise<readonly DraftTree[]> {
    const steps = new Map<string, ProposeRequest[]>();
    for (const request of requests) {
      const kind = this.#draft.canDraft(request) ? `${request.maxNodes}, ${request.maxDepth}` : "host";
      steps.set(kind, [...(steps.get(kind) ?? []), request]);
    }
    const trees = new Map<ProposeRequest, DraftTree>();
    for (const [kind, step] of steps) {
      const drafted = kind === "host" ? await this.#device.propose(step) : await this.#draft.run(step);
      for (const [i, request] of step.entries()) {
        const tree = drafted[i];
        if (tree === undefined) throw new Error(`no tree for ${request.id}`);
        if (kind !== "host" && tree.tokenIds.length > 1) this.numOnDevice++;
        trees.set(request, tree);
      }
    }
    return requests.flatMap((request) => trees.get(request) ?? []);
  }
}

/** The drafting part of a step on the device, and a readback of its trees. */
class DeviceDraft {
  readonly #gpu: GpuContext;
  readonly #sizes: DeviceDraftSizes;
  readonly #drafter: ResidentDrafter;
  readonly #readsTarget: boolean;
  readonly #proposers: readonly string[] | undefined;
  readonly #shape: { readonly maxNodes: number; readonly maxRecent: number };
  readonly #lanes: GPUBuffer;
  readonly #tables: LaneTables;

  private constructor(
    gpu: GpuContext,
    sizes: DeviceDraftSizes,
    drafter: ResidentDrafter,
    proposer: Proposer,
    shape: { readonly maxNodes: number; readonly maxRecent: number },
    buffers: { readonly lanes: GPUBuffer; readonly tables: LaneTables },
  ) {
    this.#gpu = gpu;
    this.#sizes = sizes;
    this.#drafter = drafter;
    this.#readsTarget = !(proposer instanceof DraftModelProposer);
    this.#proposers = proposer.onDevice?.proposers;
    this.#shape = shape;
    this.#lanes = buffers.lanes;
    this.#tables = buffers.tables;
  }

  static async create(gpu: GpuContext, proposer: Proposer, sizes: DeviceDraftSizes): Promise<DeviceDraft> {
    const { maxLanes, treeNodes, treeDepth, tableWords } = sizes;
    const shape = { maxNodes: treeNodes, maxRecent: 1 + deepest({ treeNodes, treeDepth }) };
    const lanes = gpu.pool.storage(maxLanes * laneBytes(shape), "lanes");
    const tables = gpu.pool.storage(4 * maxLanes * tableWords, "targetTables");
    const drafter = await proposer.onDevice?.create(gpu, {
      ...{ maxLanes, shape, buffer: lanes, tables, tableWords },
      isShaped: false,
    });
    if (drafter === undefined) throw new Error(`${proposer.name} does not draft on the device`);
    const sent = new LaneTables(gpu.device, { buffer: tables, tables: 0, tableWords });
    return new DeviceDraft(gpu, sizes, drafter, proposer, shape, { lanes, tables: sent });
  }

  canDraft(request: ProposeRequest): boolean {
    const { id, tokenIds, maxNodes, shape } = request;
    const depth = this.#depthOf(request);
    return (
      shape === undefined &&
      depth > 0 &&
      depth < this.#shape.maxRecent &&
      maxNodes <= this.#shape.maxNodes &&
      (!this.#readsTarget || hasComputedAllButRoot(request)) &&
      this.#drafter.isReady(wantsOf([request])) &&
      this.#drafter.numRecent(id, tokenIds.length) !== undefined &&
      this.#drafter.reserve(id, tokenIds.length, depth)
    );
  }

  async run(requests: readonly ProposeRequest[]): Promise<readonly DraftTree[]> {
    const [first] = requests;
    if (first === undefined) return [];
    const drafter = this.#drafter;
    const wants = wantsOf(requests);
    const lanes = requests.map(({ id, tokenIds, params, choice, processor }) => ({
      sampling: { ...params, choice, position: 0, ...placeOf(processor, wants) },
      ...{ isDrafted: true, numTokens: tokenIds.length },
      recent: tokenIds.slice(-(drafter.numRecent(id, tokenIds.length) ?? 1)),
    }));
    const [numLanes, depth] = [requests.length, this.#depthOf(first)];
    const longest = Math.max(...lanes.map(({ numTokens }) => numTokens));
    const maxPosition = Math.min(longest - 1 + depth, this.#sizes.maxModelLen - 1);
    this.#gpu.device.queue.writeBuffer(this.#lanes, 0, packLanes(this.#shape, lanes));
    this.#tables.start(requests.map(({ target }) => target.blockTable));
    this.#tables.send();
    drafter.start(requests.map(({ id, target }) => ({ id, blockTable: target.blockTable })));
    drafter.sendTables();
    drafter.hold();
    const bytes = await this.#gpu.guard.run(() => {
      const numRecent = Math.max(...lanes.map(({ recent }) => recent.length));
      const numNodes = first.maxNodes;
      const size = { numLanes, numRecent, numNodes, numRows: numLanes * numNodes, depth, maxPosition };
      const { requestSampling } = this.#sizes;
      requestSampling?.load(wants.processors);
      submitPass(this.#gpu.device, (pass) => {
        requestSampling?.encodeCounts(pass, wants);
        drafter.encode(pass, size, wants);
      });
      return this.#gpu.pool.read(this.#lanes, 0, numLanes * laneBytes(this.#shape));
    });
    for (const [lane, { numTokens }] of lanes.entries()) drafter.commit(lane, numTokens);
    drafter.release();
    drafter.end();
    return requests.map(({ id }, lane) => verifiedLane(id, readLane(this.#shape, bytes, lane), this.#proposers).tree);
  }

  #depthOf({ maxNodes, maxDepth }: ProposeRequest): number {
    return Math.min(maxDepth, maxNodes - 1);
  }
}

function wantsOf(requests: readonly ProposeRequest[]): SamplingWants {
  return { processors: requests.flatMap(({ processor }) => processor ?? []), logprobs: false };
}

function placeOf(processor: ProposeRequest["processor"], { processors }: SamplingWants) {
  return processor ? { processor: processors.indexOf(processor) } : {};
}
