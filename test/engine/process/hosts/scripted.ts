import { hostEngine } from "../../../../engine/process/host.ts";
import { ScriptedEngine } from "../../../support/scripted-engine.ts";

const text = { tokenizerJson: {}, addBos: false, endTokenIds: [] };
hostEngine(async () => ({
  client: new ScriptedEngine(),
  model: { name: "scripted", path: "", text, generationDefaults: {} },
}));
