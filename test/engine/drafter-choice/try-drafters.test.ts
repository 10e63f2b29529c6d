import { mkdirSync, symlinkSync } from "node:fs";
import { join } from "node:path";
import { beforeAll, expect, test } from "vitest";
import type { EngineClient } from "../../../engine/client.ts";
import { assembleEngine } from "../../../engine/create.ts";
import { tryDrafters } from "../../../engine/drafter-choice/try-drafters.ts";
import type { DrafterChoice } from "../../../engine/engine-options.ts";
import { resolveModel } from "../../../engine/model/bundled.ts";
import { openModel } from "../../../engine/model/open.ts";
import { createGpuContext, openGpu } from "../../../kernels/index.ts";
import { temporaryFolders } from "../model/temporary.ts";

const folderOf = temporaryFolders();
let folder: string;

/** The small model with itself beside it, twice, and with a drafter that is another's. */
beforeAll(() => {
  folder = folderOf({});
  for (const name of ["small", "small-draft", "small-glide"]) {
    symlinkSync(resolveModel("sapling-2m-draft"), join(folder, name));
  }
  symlinkSync(resolveModel("sapling-14m-eagle"), join(folder, "small-eagle"));
});

test("auto tries the drafters beside a model once, each in an engine of its own, and leaves out what does not fit", async () => {
  const model = openModel(join(folder, "small"));
  const { text } = model;
  if (text === undefined) throw new Error("the model has no tokenizer");
  const device = await openGpu("software");
  const context = createGpuContext(device);
  const infos: EngineClient["info"][] = [];
  // A clock that goes on with each look at it: how busy the machine is does not matter.
  let ms = 0;
  const cacheDir = join(folder, "cache");
  mkdirSync(cacheDir);
  const tryAll = (drafter: DrafterChoice, treeNodes = 4) =>
    tryDrafters(
      { drafter, treeNodes, maxModelLen: 64, maxNumSeqs: 2 },
      device,
      context,
      { ...model, text },
      async (options, gpu, its, weights, drafters) => {
        const client = await assembleEngine(options, gpu, its, { ...model, weights }, drafters);
        infos.push(client.info);
        return client;
      },
      { cacheDir, now: () => ms++ },
    );
  const tried = await tryAll(["auto"]);
  expect(tried?.figures.map(({ drafter }) => drafter).sort()).toEqual(["draft", "glide"]);
  // It is its own draft, which is always right: only the trees' sizes keep it from more tokens a step.
  for (const { acceptanceLength } of tried?.figures ?? []) expect(acceptanceLength).toBeGreaterThan(2);
  expect(infos.map(({ drafter, maxNumSeqs }) => [drafter, maxNumSeqs])).toEqual([
    ["draft", 1],
    ["draft", 1],
  ]);
  expect(tried?.weights).toBeDefined();
  // What is remembered needs neither engines nor weights.
  expect(await tryAll("auto")).toEqual({ figures: tried?.figures });
  expect(await tryAll("draft")).toBeUndefined();
  expect(await tryAll("auto", 1)).toBeUndefined();
  expect(infos).toHaveLength(2);
  // Trials have left the device as it was, with the weights for the engine to come.
  const { weights = model.weights } = tried ?? {};
  const engine = await assembleEngine(
    { drafter: "none", maxModelLen: 64 },
    device,
    context,
    { ...model, weights },
    [],
    tried?.figures ?? [],
  );
  expect(engine.info.drafterFigures).toEqual(tried?.figures);
  model.weights.close();
  await engine.close();
});
