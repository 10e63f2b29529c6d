import { GREEDY } from "../../engine/sampling-params.ts";
import { describeMachine } from "../machine.ts";
import { compareDrafters } from "../speculation.ts";
import { defineSuite } from "../suite.ts";
import { ENGINE_OPTIONS, engineSettings } from "./engine-settings.ts";
import { speedupTable } from "./speedup-table.ts";

export const speculate = defineSuite(
  "speed-up and acceptance length of each drafter, by temperature; one stream",
  {
    ...ENGINE_OPTIONS,
    temperatures: { type: "string", value: "T,…", default: "0,0.7,1", help: "to sample at" },
  },
  async (values, print) => {
    const { engine, drafters, prompts, maxTokens } = engineSettings(values);
    const temperatures = values.temperatures.split(",").map(Number);
    const sampling = temperatures.map((temperature) => ({ ...GREEDY, temperature, maxTokens }));
    const { info, drafters: figures } = await compareDrafters(engine, drafters, prompts, sampling);
    const results = temperatures.map((temperature, i) => ({ temperature, drafters: figures[i] ?? [] }));
    const machine = describeMachine(info);
    print(
      `${machine.model} on ${machine.adapter}, one stream, ${prompts.length} prompts, up to ${maxTokens} tokens each`,
    );
    for (const { temperature, drafters } of results) {
      print(`\nTemperature ${temperature}:\n\n${speedupTable(drafters)}`);
    }
    return { suite: "speculate", machine, numPrompts: prompts.length, maxTokens, results };
  },
);
