import { appendFileSync, readFileSync, writeFileSync } from "node:fs";
import { hostEngine } from "../../../../engine/process/host.ts";
import { ScriptedEngine } from "../../../support/scripted-engine.ts";

const text = { tokenizerJson: {}, addBos: false, endTokenIds: [] };

const drafterFigures = [{ drafter: "eagle", tokensPerSecond: 2, acceptanceLength: 3 }];

/** Each start is as the next line of the file says that stands for the model: a fingerprint, or "fails". Its options go to a file beside. */
hostEngine(async (options) => {
  const { model: path } = options;
  appendFileSync(`${path}.options`, `${JSON.stringify(options)}\n`);
  const [next = "", ...later] = readFileSync(path, "utf8").split("\n");
  writeFileSync(path, later.join("\n"));
  if (next === "fails") throw new Error("the device is busy");
  const engine = new ScriptedEngine();
  const client = Object.assign(engine, { info: { ...engine.info, fingerprint: next, drafterFigures } });
  return { client, model: { name: "scripted", path: "", text, generationDefaults: {} } };
});
