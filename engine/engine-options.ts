import { type AdapterChoice, KV_TYPES } from "../kernels/index.ts";
import type { EngineClient, EngineKernels } from "./client.ts";
import type { GenerationDefaults, TextAssets } from "./model/types.ts";
import { DRAFT_WIDTHS } from "./speculative/draft-widths.ts";
import type { CapeStep } from "./speculative/glide/cape.ts";

/**
 * draft, eagle, glide, medusa: what lies beside the target (`drafterBeside`). auto: the one of these that decodes fastest here, which
 * is measured once (`tryDrafters`); suffix where there is none. auto and none stand alone.
 */
export const DRAFTER_KINDS = ["auto", "draft", "eagle", "glide", "medusa", "suffix", "none"] as const;
export type DrafterKind = (typeof DRAFTER_KINDS)[number];
/** A folder or file of a drafter or draft model: a slash tells it from a name. */
export type DrafterPath = `${string}/${string}`;

export function isDrafterPath(name: string): name is DrafterPath {
  return name.includes("/");
}

export type DrafterName = DrafterKind | DrafterPath;
/** One drafter, or several of different kinds that propose into one tree. */
export type DrafterChoice = DrafterName | readonly DrafterName[];

export const TREE_BUDGETS = ["adaptive", "fixed"] as const;
export type TreeBudget = (typeof TREE_BUDGETS)[number];

export const KV_DTYPES = ["auto", ...KV_TYPES] as const;
export type KvDtype = (typeof KV_DTYPES)[number];

/** What to serve and how; every field but `model` has a default (`ENGINE_DEFAULTS`). */
export interface EngineOptions {
  /** A bundled name, or a local folder or .gguf file. */
  readonly model: string;
  readonly drafter?: DrafterChoice;
  readonly adapter?: AdapterChoice;
  /** Tokens of prompt + output that a sequence may hold; by default what the model was made for. */
  readonly maxModelLen?: number;
  /** Blocks of the KV cache, the reserved one included; by default enough for every sequence of the batch, within a memory bound. */
  readonly numKvBlocks?: number;
  /** GiB that the device has. WebGPU does not tell: without it the KV cache of a GPU is kept small. */
  readonly gpuMemory?: number;
  /** Share of the device's memory that weights, KV caches and buffers may take together, 0…1. */
  readonly gpuMemoryUtilization?: number;
  /** How keys and values are stored; auto: as the device stores what is not quantised. q8 takes a quarter to half the memory, not exactly. */
  readonly kvDtype?: KvDtype;
  /** Keep K/V of earlier sequences, to begin others with that have the same tokens; the text is the same. */
  readonly prefixCache?: boolean;
  readonly maxNumSeqs?: number;
  /** Rows of a step. */
  readonly tokenBudget?: number;
  /** Nodes of a draft tree, root included. */
  readonly treeNodes?: number;
  /** Levels of a draft tree below its root. */
  readonly treeDepth?: number;
  /** Children that a node may have, and nodes that a level expands. */
  readonly treeTopK?: number;
  /** How many candidates a GLIDE drafter takes of a position, by its confidence (CaPE). */
  readonly cape?: readonly CapeStep[];
  /** Candidates of each Medusa head. */
  readonly medusaCandidates?: number;
  /**
   * Children that each node has, by depth, such as [4, 2, 2, 1]: all trees get this shape, in place of the sizes above. sequoia: the
   * shape with the most expected tokens a second within the sizes above, from live acceptance.
   */
  readonly tree?: readonly number[] | "sequoia";
  /** adaptive: as much is speculated as pays, within these sizes, or nothing. fixed: trees of full size, whatever they bring. */
  readonly treeBudget?: TreeBudget;
  /**
   * Steps of steady decoding that the device may be given before the first one's tokens are read; it then drafts, walks
   * and commits by itself. 0: the host does that, step by step.
   */
  readonly stepsInFlight?: number;
  /**
   * How products run: an earlier engine's `EngineInfo.kernels`, for one that must give the same bits. By default they are chosen by
   * measuring, once for each adapter, driver, build and model.
   */
  readonly kernels?: EngineKernels;
  /**
   * Check after every step that no block is lost or shared wrongly, queues and readers agree, and drafters hold nothing of others.
   * Where that does not hold none of the step's tokens leaves, and the engine ends.
   */
  readonly checkInvariants?: boolean;
  /** Measure the parts of each verify pass on the device (`StepStats.pass`), for benchmarks. */
  readonly profile?: boolean;
}

export const ENGINE_DEFAULTS = {
  drafter: "auto",
  adapter: "auto",
  gpuMemoryUtilization: 0.9,
  kvDtype: "auto",
  prefixCache: true,
  maxNumSeqs: 8,
  tokenBudget: 128,
  treeNodes: 8,
  treeDepth: 4,
  treeTopK: 3,
  treeBudget: "fixed",
  ...DRAFT_WIDTHS,
  stepsInFlight: 2,
  checkInvariants: false,
  profile: false,
} as const satisfies Partial<EngineOptions>;

type Undecided = "maxModelLen" | "numKvBlocks" | "gpuMemory" | "kernels" | "tree";
/** Options of an engine with its defaults. */
export type Settings = Omit<EngineOptions, "model"> & Required<Omit<EngineOptions, "model" | Undecided>>;

/** The model of an engine as the text side needs it. */
export interface ServedAssets {
  readonly name: string;
  readonly path: string;
  readonly text: TextAssets;
  readonly generationDefaults: GenerationDefaults;
}

/** What `createEngine` returns: an engine that is ready, and what its model says about text. */
export interface CreatedEngine {
  readonly client: EngineClient;
  readonly model: ServedAssets;
}
