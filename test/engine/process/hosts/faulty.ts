import type { EngineClient, EngineRequest } from "../../../../engine/client.ts";
import { assembleEngine } from "../../../../engine/create.ts";
import type { CreatedEngine, EngineOptions } from "../../../../engine/engine-options.ts";
import { resolveModel } from "../../../../engine/model/bundled.ts";
import { openModel } from "../../../../engine/model/open.ts";
import { closeDrafters, openDrafters } from "../../../../engine/open-drafters.ts";
import { hostEngine } from "../../../../engine/process/host.ts";
import { createGpuContext, openGpu } from "../../../../kernels/index.ts";
import { BlockManager } from "../../../../kvcache/block-manager.ts";

/** Steps of a sequence before its fault. */
const NUM_STEPS = 4;

/** An engine whose sequences do to it what the end of their id says, in the middle of a step, and not when they are replayed. */
async function createFaulty(options: EngineOptions): Promise<CreatedEngine> {
  const model = openModel(resolveModel(options.model));
  const { name, path, text, generationDefaults } = model;
  if (text === undefined) throw new Error("the model has no tokenizer");
  const gpu = await openGpu("software");
  const drafters = openDrafters(options.drafter ?? "auto", model);
  const caches = watchCaches();
  const client = await assembleEngine(options, gpu, createGpuContext(gpu), model, drafters);
  model.weights.close();
  closeDrafters(drafters);
  const faults: Readonly<Record<string, () => void>> = {
    kill: () => process.kill(process.pid, "SIGKILL"),
    stop: () => process.kill(process.pid, "SIGSTOP"),
    destroy: () => gpu.device.destroy(),
    hang: () => dispatchForever(gpu.device),
    corrupt: () => caches.at(-1)?.ensure("no one", 1),
  };
  return { client: withFaults(client, faults), model: { name, path, text, generationDefaults } };
}

/** Nothing that is submitted after it ever ends. */
function dispatchForever(device: GPUDevice): void {
  const code = `
    @group(0) @binding(0) var<storage, read_write> state: array<atomic<u32>, 2>;
    @compute @workgroup_size(1) fn main() {
      while (atomicLoad(&state[0]) == 0u) { atomicAdd(&state[1], 1u); }
    }`;
  const compute = { module: device.createShaderModule({ code }) };
  const pipeline = device.createComputePipeline({ layout: "auto", compute });
  const buffer = device.createBuffer({ size: 8, usage: GPUBufferUsage.STORAGE });
  const entries = [{ binding: 0, resource: { buffer } }];
  const encoder = device.createCommandEncoder();
  const pass = encoder.beginComputePass();
  pass.setPipeline(pipeline);
  pass.setBindGroup(0, device.createBindGroup({ layout: pipeline.getBindGroupLayout(0), entries }));
  pass.dispatchWorkgroups(1);
  pass.end();
  device.queue.submit([encoder.finish()]);
}

/** The block managers that commit something. */
function watchCaches(): readonly BlockManager[] {
  const caches: BlockManager[] = [];
  const { commit } = BlockManager.prototype;
  BlockManager.prototype.commit = function (...args) {
    caches.push(this);
    commit.apply(this, args);
  };
  return caches;
}

function withFaults(client: EngineClient, faults: Readonly<Record<string, () => void>>): EngineClient {
  const numLeft = new Map<string, number>();
  client.onStep(({ sequences }) => {
    for (const { id } of sequences) {
      const left = numLeft.get(id);
      if (left === undefined) continue;
      numLeft.set(id, left - 1);
      // The next step is submitted within a moment.
      if (left === 0) setTimeout(() => faults[id.split("/").at(-1) ?? ""]?.(), 2);
    }
  });
  return {
    info: client.info,
    generate: (request: EngineRequest, signal) => {
      if (request.outputTokenIds?.length === 0) numLeft.set(request.id, NUM_STEPS);
      return client.generate(request, signal);
    },
    onStep: (listener) => client.onStep(listener),
    load: () => client.load(),
    close: () => client.close(),
  };
}

hostEngine(createFaulty);
