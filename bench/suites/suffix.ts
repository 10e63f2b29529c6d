import { resolveModel } from "../../engine/model/bundled.ts";
import { openModel } from "../../engine/model/open.ts";
import { ModelText } from "../../engine/text/model-text.ts";
import { type AcceptanceFigures, suffixAcceptance } from "../suffix-acceptance.ts";
import { COPY_EDITING, MULTI_TURN } from "../suffix-texts.ts";
import { defineSuite, positiveInteger } from "../suite.ts";
import { table } from "../table.ts";

export const suffix = defineSuite(
  "tokens a step of look-up drafts on answers as written: copy-editing and conversations over several turns",
  {
    model: { type: "string", value: "NAME|PATH", default: "sapling-14m", help: "whose tokenizer and template" },
    nodes: { type: "string", value: "N", default: "16", help: "nodes of a tree" },
    depth: { type: "string", value: "N", default: "12", help: "levels of a tree" },
  },
  async (values, print) => {
    const model = openModel(resolveModel(values.model));
    model.weights.close();
    if (model.text === undefined) throw new RangeError(`${values.model} has no tokenizer`);
    const text = new ModelText(model.text);
    const limits = { maxNodes: positiveInteger(values.nodes), maxDepth: positiveInteger(values.depth) };
    const figures: readonly (AcceptanceFigures & { readonly set: string })[] = [
      { set: "copy-editing", ...(await suffixAcceptance(text, COPY_EDITING, limits)) },
      { set: "several turns", ...(await suffixAcceptance(text, MULTI_TURN, limits)) },
    ];
    print(
      table(
        ["set", "tokens", "steps", "tokens a step"],
        figures.map((one) => [one.set, String(one.numTokens), String(one.numSteps), one.acceptanceLength.toFixed(2)]),
      ),
    );
    return { suite: "suffix", ...limits, figures };
  },
);
