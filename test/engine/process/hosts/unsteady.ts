import { readFileSync, writeFileSync } from "node:fs";
import { hostEngine } from "../../../../engine/process/host.ts";
import { ScriptedEngine } from "../../../support/scripted-engine.ts";

const text = { tokenizerJson: {}, addBos: false, endTokenIds: [] };

/** Each start is as the next line of the file says that stands for the model: a fingerprint, or "fails". */
hostEngine(async ({ model: path }) => {
  const [next = "", ...later] = readFileSync(path, "utf8").split("\n");
  writeFileSync(path, later.join("\n"));
  if (next === "fails") throw new Error("the device is busy");
  const engine = new ScriptedEngine();
  const client = Object.assign(engine, { info: { ...engine.info, fingerprint: next } });
  return { client, model: { name: "scripted", path: "", text, generationDefaults: {} } };
});
