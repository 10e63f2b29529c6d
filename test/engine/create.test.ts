import { readdirSync } from "node:fs";
import { join } from "node:path";
import { describe, expect, it, vi } from "vitest";
import { createEngine } from "../../engine/create.ts";
import type { EngineOptions } from "../../engine/engine-options.ts";
import { EngineOptionsError, ModelFileError } from "../../engine/errors.ts";
import { resolveModel } from "../../engine/model/bundled.ts";
import { createGpuContext, openGpu } from "../../kernels/index.ts";
import { useEngines } from "../support/engines.ts";
import { temporaryFolders } from "./model/temporary.ts";
import { hfFolder, tinyGguf } from "./model/tiny-model.ts";

const createHere = useEngines();
const folderOf = temporaryFolders();
const SMALL = { model: "sapling-2m-draft", adapter: "software", drafter: "none", maxModelLen: 64 } as const;

/** The engine's info; the engine is closed again. */
async function infoOf(options: EngineOptions) {
  const { client } = await createHere(options);
  await client.close();
  return client.info;
}

describe("createEngine refuses", () => {
  it("a context whose positions no buffer holds", async () => {
    const model = folderOf({ "m.gguf": tinyGguf({ "llama.context_length": { type: "u32", value: 2 ** 26 } }) });
    const starting = createEngine({ model, adapter: "software", drafter: "none" });
    await expect(starting).rejects.toThrow(
      /^max-model-len is 67108864, but this adapter's buffers hold \d+ positions at most; set it/,
    );
  });

  it("a device on which something could not be made, before it serves a request", async () => {
    const opened = await openGpu("software");
    const context = createGpuContext(opened);
    const { device } = opened;
    const make = device.createBuffer.bind(device);
    vi.spyOn(device, "createBuffer").mockImplementation((wanted) => {
      // No buffer may have this usage.
      const usage = GPUBufferUsage.MAP_READ | GPUBufferUsage.STORAGE;
      return make(wanted.label?.startsWith("kCache") ? { ...wanted, usage } : wanted);
    });
    const starting = createEngine({ ...SMALL }, async () => ({ device: opened, context }));
    await expect(starting).rejects.toMatchObject({ name: "GpuError", code: "step_poisoned" });
  });

  it.each<readonly [string, Partial<EngineOptions>, RegExp]>([
    ["a context that the model does not hold", { maxModelLen: 4096 }, /max-model-len is 4096, .* at most 2048/],
    ["a drafter beside one that stands alone", { drafter: ["suffix", "none"] }, /none stands alone/],
    ["a drafter that is named twice", { drafter: ["suffix", "suffix"] }, /only one of them can be suffix/],
    [
      "two drafters of one kind",
      {
        model: "sapling-14m",
        drafter: ["medusa", "eagle", resolveModel("sapling-14m-eagle") as `${string}/${string}`],
      },
      /only one of them can be eagle/,
    ],
    ["a budget without a row for each stream", { tokenBudget: 3, maxNumSeqs: 4 }, /token-budget is 3: .*\(4\)/],
    [
      "a KV cache that does not fit, target's and drafter's together",
      { model: "sapling-14m", drafter: "draft", gpuMemory: 1, numKvBlocks: 2 ** 20 },
      /^1048576 KV blocks need \d+\.\d\d GiB \(sapling-14m .*, sapling-2m-draft .*\) beside weights of .*, but 921\.60 MiB may be used/,
    ],
    [
      "what takes more than it may beside weights and KV cache",
      { gpuMemory: 1, gpuMemoryUtilization: 0.012, numKvBlocks: 2 },
      /^weights, KV cache and buffers take .* MiB, but 12\.29 MiB may be used/,
    ],
  ])("%s", async (_, options, message) => {
    const error = await createEngine({ ...SMALL, ...options }).catch((thrown: unknown) => thrown);
    expect(error).toBeInstanceOf(EngineOptionsError);
    expect(error).toHaveProperty("message", expect.stringMatching(message));
  });

  it.each<readonly [string, () => Partial<EngineOptions>, string, RegExp]>([
    [
      "heads of a size that the kernels cannot work with",
      () => ({ model: folderOf(hfFolder()) }),
      "unsupported",
      /headDim is 4; it must be a multiple of 8/,
    ],
    [
      "a model without a tokenizer",
      () => ({
        model: folderOf({ "m.gguf": tinyGguf({ "tokenizer.ggml.model": { type: "string", value: "none" } }) }),
      }),
      "unsupported",
      /has no tokenizer/,
    ],
    [
      "a draft model where none belongs to the target",
      () => ({ drafter: "draft" }),
      "not_found",
      /no drafter of kind draft/,
    ],
    [
      "a drafter that does not belong to the target, beside one that is open",
      () => ({ drafter: ["suffix", resolveModel("sapling-2m-draft") as `${string}/${string}`, "eagle"] }),
      ...(["not_found", /no drafter of kind eagle/] as const),
    ],
    ["a model that is not there", () => ({ model: "./no-such-model" }), "not_found", /bundled: .*sapling-14m/],
  ])("%s", async (_, options, code, message) => {
    const numOpen = () => readdirSync("/proc/self/fd").length;
    const before = process.platform === "linux" ? numOpen() : 0;
    const error = await createEngine({ ...SMALL, ...options() }).catch((thrown: unknown) => thrown);
    expect(error).toBeInstanceOf(ModelFileError);
    expect(error).toMatchObject({ code, message: expect.stringMatching(message) });
    if (process.platform === "linux") expect(numOpen()).toBe(before);
  });
});

describe("an engine's info", () => {
  it("says what is served and how much of it fits", async () => {
    const info = await infoOf({ ...SMALL, drafter: "suffix", maxNumSeqs: 3 });
    expect(info).toMatchObject({
      ...{ modelName: "sapling-2m-draft", drafter: "suffix", adapterKind: "software", maxModelLen: 64, maxNumSeqs: 3 },
      ...{ vocabSize: 4096, blockSize: 16, treeDepth: 4 },
    });
    // Three sequences of 64 tokens and 8 lookahead slots each, and the reserved block.
    expect(info.numKvBlocks).toBe(1 + 3 * Math.ceil((64 + 8) / 16));
  });

  it("has the fingerprint of model and numerics, whatever the drafter and the sizes", async () => {
    const plain = await infoOf(SMALL);
    expect(plain.fingerprint).toMatch(/^canopy-[0-9a-f]{16}$/);
    expect(plain.treeDepth).toBe(0);
    const other = await infoOf({ ...SMALL, drafter: "suffix", maxModelLen: 128, maxNumSeqs: 2 });
    expect(other.fingerprint).toBe(plain.fingerprint);
    const otherModel = await infoOf({ ...SMALL, model: join(resolveModel("sapling-14m"), "sapling-14m-q8_0.gguf") });
    expect(otherModel.fingerprint).not.toBe(plain.fingerprint);
  });

  it("names the choice of kernels, which another engine can be given; the fingerprint is the choice's too", async () => {
    const { kernels, fingerprint } = await infoOf(SMALL);
    const handed = JSON.parse(JSON.stringify(kernels)) as typeof kernels;
    const again = await infoOf({ ...SMALL, kernels: handed });
    expect(again.kernels).toEqual(kernels);
    expect(again.fingerprint).toBe(fingerprint);
    const oneTile = { target: { ...kernels.target, rowTiles: kernels.target.rowTiles.slice(0, 1) } };
    const other = await infoOf({ ...SMALL, kernels: oneTile });
    expect(other.kernels).toEqual(oneTile);
    expect(other.fingerprint).not.toBe(fingerprint);
  });

  it("is not to be had with kernels that were chosen for something else", async () => {
    const { kernels } = await infoOf(SMALL);
    const foreign = { target: { ...kernels.target, key: "another adapter" } };
    const error = await createEngine({ ...SMALL, kernels: foreign }).catch((thrown: unknown) => thrown);
    expect(error).toBeInstanceOf(EngineOptionsError);
    expect(error).toHaveProperty("message", expect.stringMatching(/^kernels: were chosen for another adapter/));
  });
});
