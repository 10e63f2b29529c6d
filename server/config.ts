import { z } from "zod";
import {
  DRAFTER_KINDS,
  ENGINE_DEFAULTS,
  type EngineOptions,
  KV_DTYPES,
  TREE_BUDGETS,
} from "../engine/engine-options.ts";
import {
  apiKey,
  capeSteps,
  drafterName,
  filledText,
  hostName,
  listOf,
  MAX_TREE_NODES,
  MOST_CANDIDATES,
  oneOf,
  share,
  treeShape,
  wholeNumber,
} from "./config-values.ts";

const LOG_LEVELS = ["fatal", "error", "warn", "info", "debug", "trace", "silent"] as const;

/** What help says about a setting beside its values and default. */
export interface SettingInfo {
  readonly group: "Model" | "Network" | "Memory and batching" | "Speculation" | "Logging";
  /** Names the value in help, e.g. "PORT"; enums show their values instead. */
  readonly placeholder?: string;
  readonly description: string;
  /** Describes what happens without the setting, where that is not simply a value. */
  readonly defaultText?: string;
  /** The value is a secret: no message may show it. */
  readonly secret?: true;
}

/** Every field of `configSchema` is registered here. */
export const settingInfos = z.registry<SettingInfo>();

/**
 * Everything that can be set, with its default and its words: flags, environment twins and help are made from this.
 * The key `maxModelLen` is the flag `--max-model-len` and the variable `CANOPY_MAX_MODEL_LEN`.
 */
export const configSchema = z.strictObject({
  model: filledText.default("sapling-14m").register(settingInfos, {
    group: "Model",
    placeholder: "MODEL",
    description: "What to serve: a bundled model's name, a local folder or a .gguf file",
  }),
  servedModelName: listOf(filledText).register(settingInfos, {
    group: "Model",
    placeholder: "NAME",
    description: "Name of the model in the API; more names are aliases",
    defaultText: "the model's own name",
  }),
  adapter: oneOf(["auto", "gpu", "software"]).default(ENGINE_DEFAULTS.adapter).register(settingInfos, {
    group: "Model",
    description: "What to run on; auto takes a GPU if there is one, gpu fails without one",
  }),
  port: wholeNumber(0, 65_535).default(8181).register(settingInfos, {
    group: "Network",
    placeholder: "PORT",
    description: "Port to listen on; 0 takes any free one",
  }),
  host: z
    .string()
    .regex(/^[A-Za-z0-9_.:-]+$/, { error: "must be an IP address or a host name, without scheme, port or brackets" })
    .default("127.0.0.1")
    .register(settingInfos, {
      group: "Network",
      placeholder: "ADDRESS",
      description: "Address to listen on; 0.0.0.0 is every IPv4 network of this machine",
    }),
  apiKey: listOf(apiKey).register(settingInfos, {
    group: "Network",
    placeholder: "KEY",
    description: "Key that clients must send as Authorization: Bearer KEY",
    defaultText: "no key is needed",
    secret: true,
  }),
  apiKeyFile: filledText.optional().register(settingInfos, {
    group: "Network",
    placeholder: "FILE",
    description: "File with further keys, one a line; # starts a comment line",
  }),
  allowedHosts: listOf(hostName).register(settingInfos, {
    group: "Network",
    placeholder: "NAME",
    description: "Further host names under which clients may reach the server",
    defaultText: "localhost when listening on loopback, else any",
  }),
  allowedOrigins: listOf(
    z.string().regex(/^[a-z][a-z0-9+.-]*:\/\/[^/\s]+$/i, { error: "must be an origin such as https://app.example" }),
  ).register(settingInfos, {
    group: "Network",
    placeholder: "ORIGIN",
    description: "Origins whose web pages may send requests, such as https://app.example",
    defaultText: "the server's own pages",
  }),
  maxModelLen: wholeNumber(1, 2 ** 24)
    .optional()
    .register(settingInfos, {
      group: "Memory and batching",
      placeholder: "TOKENS",
      description: "Longest prompt plus answer, in tokens",
      defaultText: "what the model was made for",
    }),
  kvBlocks: wholeNumber(2, 2 ** 24)
    .optional()
    .register(settingInfos, {
      group: "Memory and batching",
      placeholder: "N",
      description: "Blocks of the KV cache, 16 tokens each; one is reserved",
      defaultText: "enough for a full batch, within 1 GiB",
    }),
  gpuMemory: wholeNumber(1, 4096).optional().register(settingInfos, {
    group: "Memory and batching",
    placeholder: "GIB",
    description: "Memory of the GPU, which WebGPU does not tell; with it the KV cache may take what is left",
    defaultText: "unknown; a software adapter has the machine's",
  }),
  gpuMemoryUtilization: share.default(ENGINE_DEFAULTS.gpuMemoryUtilization).register(settingInfos, {
    group: "Memory and batching",
    placeholder: "SHARE",
    description: "Share of that memory that weights, KV cache and buffers may take together",
  }),
  kvDtype: oneOf(KV_DTYPES).default(ENGINE_DEFAULTS.kvDtype).register(settingInfos, {
    group: "Memory and batching",
    description: "How the KV cache is stored; q8 takes about half of f16 and changes logits a little, drafts or not",
  }),
  prefixCache: oneOf(["on", "off"]).default("on").register(settingInfos, {
    group: "Memory and batching",
    description: "Keep the KV cache of earlier requests for those that begin alike, per API key. The text is the same",
  }),
  maxNumSeqs: wholeNumber(1, 1024).default(ENGINE_DEFAULTS.maxNumSeqs).register(settingInfos, {
    group: "Memory and batching",
    placeholder: "N",
    description: "Sequences that run at once",
  }),
  tokenBudget: wholeNumber(1, 65_536).default(ENGINE_DEFAULTS.tokenBudget).register(settingInfos, {
    group: "Memory and batching",
    placeholder: "ROWS",
    description: "Prompt tokens and tree nodes that one step computes at most",
  }),
  maxQueue: wholeNumber(0, 100_000).default(256).register(settingInfos, {
    group: "Memory and batching",
    placeholder: "N",
    description: "Sequences that may wait for a place; beyond them the answer is 429",
  }),
  requestTimeout: wholeNumber(1, 86_400).optional().register(settingInfos, {
    group: "Memory and batching",
    placeholder: "SECONDS",
    description: "A request that has not ended by then is, with 503; requests may ask for less",
    defaultText: "no limit",
  }),
  drafter: z
    .array(drafterName)
    .min(1)
    .default([ENGINE_DEFAULTS.drafter])
    .readonly()
    .register(settingInfos, {
      group: "Speculation",
      placeholder: `${DRAFTER_KINDS.join("|")}|PATH`,
      description:
        "Who drafts, several into one tree; auto takes what decodes fastest of what lies beside the model, else suffix. The text is the same",
      defaultText: ENGINE_DEFAULTS.drafter,
    }),
  treeBudget: oneOf(TREE_BUDGETS).default(ENGINE_DEFAULTS.treeBudget).register(settingInfos, {
    group: "Speculation",
    description: "fixed always has trees of full size; adaptive speculates as much as pays, or not at all",
  }),
  tree: treeShape.optional().register(settingInfos, {
    group: "Speculation",
    placeholder: "SHAPE",
    description:
      "One shape for all trees: children of each node by depth, such as 4,2,2,1; or sequoia, the best one by live acceptance",
    defaultText: "dynamic trees",
  }),
  treeNodes: wholeNumber(1, MAX_TREE_NODES).default(ENGINE_DEFAULTS.treeNodes).register(settingInfos, {
    group: "Speculation",
    placeholder: "N",
    description: "Nodes of a draft tree, its root included",
  }),
  treeDepth: wholeNumber(1, 64).default(ENGINE_DEFAULTS.treeDepth).register(settingInfos, {
    group: "Speculation",
    placeholder: "N",
    description: "Levels of a draft tree below its root",
  }),
  treeTopk: wholeNumber(1, MOST_CANDIDATES).default(ENGINE_DEFAULTS.treeTopK).register(settingInfos, {
    group: "Speculation",
    placeholder: "N",
    description: "Children of a node, and nodes that a level expands",
  }),
  cape: capeSteps
    .default([...ENGINE_DEFAULTS.cape])
    .readonly()
    .register(settingInfos, {
      group: "Speculation",
      placeholder: "P:N",
      description:
        "Children of a node that glide drafts, by how sure it is (CaPE): N where its best candidate's probability is at most P; the last P is 1",
      defaultText: ENGINE_DEFAULTS.cape.map(({ upTo, numCandidates }) => `${upTo}:${numCandidates}`).join(),
    }),
  medusaTopk: wholeNumber(1, MOST_CANDIDATES).default(ENGINE_DEFAULTS.medusaCandidates).register(settingInfos, {
    group: "Speculation",
    placeholder: "N",
    description: "Candidates of each head of medusa, whose trees are wide; at least --tree-topk",
  }),
  checkInvariants: oneOf(["on", "off"]).default("off").register(settingInfos, {
    group: "Logging",
    description:
      "Check after every step what must hold of queues and KV cache; where it does not, the engine is started again",
  }),
  logLevel: oneOf(LOG_LEVELS).default("info").register(settingInfos, {
    group: "Logging",
    description: "Least severe messages to write",
  }),
});

export type Config = Readonly<z.infer<typeof configSchema>>;

/** The engine's part of the configuration. */
export function toEngineOptions(config: Config): EngineOptions {
  const { model, drafter, adapter, maxModelLen, kvBlocks, maxNumSeqs, tokenBudget, treeNodes, treeDepth } = config;
  return {
    ...{ model, drafter, adapter, maxNumSeqs, tokenBudget, treeNodes, treeDepth },
    treeTopK: config.treeTopk,
    cape: config.cape,
    medusaCandidates: config.medusaTopk,
    treeBudget: config.treeBudget,
    ...(config.tree === undefined ? {} : { tree: config.tree }),
    gpuMemoryUtilization: config.gpuMemoryUtilization,
    ...(config.gpuMemory === undefined ? {} : { gpuMemory: config.gpuMemory }),
    kvDtype: config.kvDtype,
    prefixCache: config.prefixCache === "on",
    checkInvariants: config.checkInvariants === "on",
    ...(maxModelLen === undefined ? {} : { maxModelLen }),
    ...(kvBlocks === undefined ? {} : { numKvBlocks: kvBlocks }),
  };
}
