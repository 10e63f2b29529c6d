import {
  DRAFTER_KINDS,
  type DrafterChoice,
  ENGINE_DEFAULTS,
  type EngineOptions,
  isDrafterPath,
  TREE_BUDGETS,
} from "../../engine/engine-options.ts";
import { drafterKindsBeside, resolveModel } from "../../engine/model/bundled.ts";
import { openModel } from "../../engine/model/open.ts";
import { ModelText } from "../../engine/text/model-text.ts";
import { referencePrompts } from "../prompts.ts";
import { type Options, oneOf, positiveInteger, type Values } from "../suite.ts";

/** Options of the suites that run prompts through engines. */
export const ENGINE_OPTIONS = {
  model: { type: "string", value: "NAME|PATH", default: "sapling-14m", help: "what to run" },
  prompts: { type: "string", value: "N", default: "16", help: "of the 16 bundled prompts" },
  tokens: { type: "string", value: "N", default: "128", help: "most tokens of a text" },
  drafters: {
    ...{ type: "string", value: "A,B" },
    help: "the first is the base; a+b drafts with both; none and all that the model has where it is not given",
  },
  "tree-nodes": {
    ...{ type: "string", value: "N", default: String(ENGINE_DEFAULTS.treeNodes) },
    help: "nodes of a draft tree, root included",
  },
  "tree-depth": {
    ...{ type: "string", value: "N", default: String(ENGINE_DEFAULTS.treeDepth) },
    help: "levels of a draft tree below its root",
  },
  "steps-in-flight": {
    ...{ type: "string", value: "N", default: "2" },
    help: "steps that the device may be given ahead; 0 lets the host plan and walk each",
  },
  "tree-budget": {
    ...{ type: "string", value: "adaptive|fixed", default: "fixed" },
    help: "fixed: trees of full size, whatever they bring",
  },
} as const satisfies Options;

export interface EngineSettings {
  readonly engine: EngineOptions;
  readonly drafters: readonly DrafterChoice[];
  /** Token ids. */
  readonly prompts: readonly (readonly number[])[];
  readonly maxTokens: number;
}

/** @throws ModelFileError where the model is missing or has no tokenizer, RangeError for an option out of range */
export function engineSettings(values: Values<typeof ENGINE_OPTIONS> & { readonly adapter: string }): EngineSettings {
  const { model } = values;
  const opened = openModel(resolveModel(model));
  opened.weights.close();
  if (opened.text === undefined) throw new RangeError(`${model} has no tokenizer`);
  const text = new ModelText(opened.text);
  const prompts = referencePrompts().slice(0, positiveInteger(values.prompts));
  return {
    engine: {
      model,
      adapter: oneOf(["auto", "gpu", "software"], values.adapter),
      treeNodes: positiveInteger(values["tree-nodes"]),
      treeDepth: positiveInteger(values["tree-depth"]),
      stepsInFlight: Number(values["steps-in-flight"]),
      treeBudget: oneOf(TREE_BUDGETS, values["tree-budget"]),
    },
    drafters: values.drafters?.split(",").map(drafterChoice) ?? ["none", ...drafterKindsBeside(opened.path), "suffix"],
    prompts: prompts.map(({ prompt }) => text.encodeChat([{ role: "user", content: prompt }])),
    maxTokens: positiveInteger(values.tokens),
  };
}

/** "draft" or a path, or several such as "draft+suffix". @throws RangeError naming the choices */
function drafterChoice(text: string): DrafterChoice {
  const names = text.split("+").map((one) => (isDrafterPath(one) ? one : oneOf(DRAFTER_KINDS, one)));
  return names.length === 1 ? (names[0] ?? "auto") : names;
}
