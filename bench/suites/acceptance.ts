import { writeFileSync } from "node:fs";
import { createEngine } from "../../engine/create.ts";
import { ENGINE_DEFAULTS } from "../../engine/engine-options.ts";
import { GREEDY, type SamplingParams } from "../../engine/sampling-params.ts";
import { openGpu } from "../../kernels/index.ts";
import { generate } from "../generate.ts";
import { describeMachine } from "../machine.ts";
import { frequentTokens } from "../prompts.ts";
import { Reliability, reliabilityPlot } from "../reliability.ts";
import { Replay, type ReplayText, withoutNoise } from "../replay.ts";
import { type SharedFigures, SharedTrees } from "../shared-trees.ts";
import { defineSuite, positiveInteger } from "../suite.ts";
import { table } from "../table.ts";
import { ENGINE_OPTIONS, engineSettings } from "./engine-settings.ts";

const { model, prompts, tokens, drafters } = ENGINE_OPTIONS;

/** A bias that no logit outweighs: the lowest that OpenAI's API has. */
const BAN = -100;

/** Rows of a tree for which it is told what sharing them gains, and trees that share. */
const SHARED_NODES = [2, 3, 4, 6, 8];
const NUM_SHARING = 32;

interface AcceptanceRow {
  readonly drafter: string;
  readonly temperature: number;
  /** Drafts with the target's own noise; none to draft with at temperature 0. */
  readonly noise: boolean;
  readonly numSteps: number;
  readonly acceptanceLength: number;
  /** Mean distance of predicted survival from observed. */
  readonly rawError: number;
  readonly calibratedError: number;
}

export const acceptance = defineSuite(
  "tokens a step of each drafter by temperature, with the target's noise and without, and how far its estimates can be trusted; on texts of the target's that are known, so that nothing is verified",
  {
    ...{ model, prompts, tokens, drafters },
    "tree-nodes": { ...ENGINE_OPTIONS["tree-nodes"], default: "16" },
    "tree-depth": { ...ENGINE_OPTIONS["tree-depth"], default: "6" },
    "tree-topk": { type: "string", value: "N", default: String(ENGINE_DEFAULTS.treeTopK), help: "children of a node" },
    "medusa-topk": {
      ...{ type: "string", value: "N", default: String(ENGINE_DEFAULTS.medusaCandidates) },
      help: "candidates of each of medusa's heads",
    },
    temperatures: { type: "string", value: "T,…", default: "0,0.7,1", help: "to sample at" },
    "repetition-penalty": { type: "string", value: "R", default: "1", help: "of all texts" },
    "presence-penalty": { type: "string", value: "P", default: "0", help: "of all texts" },
    ban: {
      type: "string",
      value: "N",
      default: "0",
      help: "ban the N tokens that the reference texts have most often",
    },
    plot: { type: "string", value: "FILE.svg", help: "draw predicted survival against observed" },
  },
  async (values, print) => {
    const settings = engineSettings({ ...values, "steps-in-flight": "2", "tree-budget": "fixed" });
    const choices = settings.drafters.filter((drafter) => drafter !== "none");
    const temperatures = values.temperatures.split(",").map(Number);
    const asked = {
      repetitionPenalty: Number(values["repetition-penalty"]),
      presencePenalty: Number(values["presence-penalty"]),
      logitBias: frequentTokens(Number(values.ban)).map((token) => [token, BAN] as const),
    };
    const { info, texts } = await textsOf(settings, temperatures, asked);
    const sizes = {
      ...{ ...ENGINE_DEFAULTS, maxNumSeqs: settings.prompts.length, treeTopK: positiveInteger(values["tree-topk"]) },
      ...{ treeNodes: positiveInteger(values["tree-nodes"]), treeDepth: positiveInteger(values["tree-depth"]) },
      medusaCandidates: positiveInteger(values["medusa-topk"]),
    };
    const longest = Math.max(...settings.prompts.map(({ length }) => length)) + settings.maxTokens;
    const device = await openGpu(settings.engine.adapter ?? "auto");
    const replay = await Replay.create(device, values.model, choices, sizes, longest);
    const proposers = [];
    for (const choice of choices) proposers.push({ name: String(choice), proposer: await replay.openDrafter(choice) });
    const rows: AcceptanceRow[] = [];
    const reliabilities = proposers.map(() => new Reliability());
    const trees = proposers.map(() => new SharedTrees());
    for (const some of texts) {
      await replay.compute(some);
      const temperature = some[0]?.params.temperature ?? 0;
      for (const [i, { name, proposer }] of proposers.entries()) {
        for (const noise of temperature === 0 ? [false] : [true, false]) {
          const reliability = new Reliability();
          const figures = await replay.run(proposer, noise ? undefined : withoutNoise, (draft) => {
            reliability.observe(draft);
            if (!noise && temperature > 0) return;
            reliabilities[i]?.observe(draft);
            trees[i]?.observe(draft);
          });
          const { rawError, calibratedError } = reliability;
          rows.push({ drafter: name, temperature, noise, ...figures, rawError, calibratedError });
          const how = temperature === 0 ? "" : noise ? ", with noise" : ", without noise";
          print(`${name}, T ${temperature}${how}: ${figures.acceptanceLength.toFixed(2)} tokens a step`);
        }
      }
    }
    for (const { proposer } of proposers) proposer.close();
    replay.close();
    device.close();
    print(`\n${acceptanceTable(rows, temperatures)}`);
    const shared = proposers.map(({ name }, i) => ({
      drafter: name,
      figures: SHARED_NODES.map(
        (numNodes) => trees[i]?.figures(numNodes, numNodes, NUM_SHARING) ?? { own: 1, shared: 1 },
      ),
    }));
    print(`\n${sharedTable(shared)}`);
    if (values.plot !== undefined) {
      const lines = proposers.flatMap(({ name }, i) => [
        { name: `${name}, as it says`, bins: reliabilities[i]?.raw ?? [] },
        { name: `${name}, calibrated`, bins: reliabilities[i]?.calibrated ?? [] },
      ]);
      const title = `Estimates of ${info.modelName}'s drafters, T ${temperatures.join(", ")}`;
      writeFileSync(values.plot, reliabilityPlot(title, lines));
    }
    return { suite: "acceptance", machine: describeMachine(info), ...values, rows, shared };
  },
);

function sharedTable(shared: readonly { readonly drafter: string; readonly figures: readonly SharedFigures[] }[]) {
  return [
    `tokens a step with so many rows a tree, root included, and as many levels: rows of its own → shared by ${NUM_SHARING} trees`,
    "",
    table(
      ["drafter", ...SHARED_NODES.map(String)],
      shared.map(({ drafter, figures }) => [
        drafter,
        ...figures.map(({ own, shared }) => `${own.toFixed(2)} → ${shared.toFixed(2)}`),
      ]),
    ),
  ].join("\n");
}

/** What the target says to the prompts at each temperature. */
async function textsOf(
  { engine, prompts, maxTokens }: ReturnType<typeof engineSettings>,
  temperatures: readonly number[],
  asked: Partial<SamplingParams>,
) {
  const { client } = await createEngine({ ...engine, drafter: "none" });
  const texts: ReplayText[][] = [];
  for (const temperature of temperatures) {
    const some = prompts.map(async (promptTokens, i): Promise<ReplayText> => {
      const params = { ...GREEDY, ...asked, temperature, maxTokens, seed: [1, i] as const };
      return { promptTokens, params, outputTokens: (await generate(client, promptTokens, params)).tokenIds };
    });
    texts.push(await Promise.all(some));
  }
  const { info } = client;
  await client.close();
  return { info, texts };
}

function acceptanceTable(rows: readonly AcceptanceRow[], temperatures: readonly number[]): string {
  const names = [...new Set(rows.map(({ drafter }) => drafter))];
  const columns = temperatures.flatMap((temperature) => {
    return (temperature === 0 ? [false] : [true, false]).map((noise) => ({ temperature, noise }));
  });
  const title = ({ temperature, noise }: (typeof columns)[number]) =>
    temperature === 0 ? "T 0" : `T ${temperature}${noise ? "" : ", without noise"}`;
  return table(
    ["drafter", ...columns.map(title), "calibration error: as it says", "calibrated"],
    names.map((name) => {
      const mine = rows.filter(({ drafter }) => drafter === name);
      const kept = mine.filter(({ temperature, noise }) => noise || temperature === 0);
      const mean = (pick: (row: AcceptanceRow) => number) =>
        kept.reduce((sum, row) => sum + pick(row), 0) / kept.length;
      return [
        name,
        ...columns.map(({ temperature, noise }) => {
          const row = mine.find((one) => one.temperature === temperature && one.noise === noise);
          return row?.acceptanceLength.toFixed(2) ?? "";
        }),
        ...[mean(({ rawError }) => rawError), mean(({ calibratedError }) => calibratedError)].map((e) => e.toFixed(3)),
      ];
    }),
  );
}
