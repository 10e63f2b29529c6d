import { describe, expect, it } from "vitest";
import { ENGINE_DEFAULTS } from "../../engine/engine-options.ts";
import { type Config, toEngineOptions } from "../../server/config.ts";
import { SETTINGS } from "../../server/config-settings.ts";
import { DEFAULTS, load, usageError } from "./config-case.ts";

/** Flag and twin by hand, one written value with what it means, another one, and a bad one. */
type Case = readonly [
  key: keyof Config,
  flag: string,
  env: string,
  text: string,
  value: unknown,
  other: string,
  otherValue: unknown,
  bad: string,
];
const CASES: readonly Case[] = [
  ["model", "--model", "CANOPY_MODEL", "./a.gguf", "./a.gguf", "b", "b", " "],
  ["servedModelName", "--served-model-name", "CANOPY_SERVED_MODEL_NAME", "a,b", ["a", "b"], "c", ["c"], "a,,b"],
  ["adapter", "--adapter", "CANOPY_ADAPTER", "software", "software", "gpu", "gpu", "cuda"],
  ["port", "--port", "CANOPY_PORT", "0", 0, "65535", 65535, "65536"],
  ["host", "--host", "CANOPY_HOST", "0.0.0.0", "0.0.0.0", "::1", "::1", "http://localhost"],
  ["apiKey", "--api-key", "CANOPY_API_KEY", "sk-1,sk-2", ["sk-1", "sk-2"], "x=/+y", ["x=/+y"], "a b"],
  [
    "allowedHosts",
    "--allowed-hosts",
    "CANOPY_ALLOWED_HOSTS",
    "a.example",
    ["a.example"],
    "b,10.0.0.7,fd00::7,[fd00::8]",
    ["b", "10.0.0.7", "fd00::7", "[fd00::8]"],
    "b:80",
  ],
  [
    ...(["allowedOrigins", "--allowed-origins", "CANOPY_ALLOWED_ORIGINS"] as const),
    ...([
      "https://a.example",
      ["https://a.example"],
      "http://b:1,http://c",
      ["http://b:1", "http://c"],
      "a.example",
    ] as const),
  ],
  ["maxModelLen", "--max-model-len", "CANOPY_MAX_MODEL_LEN", "512", 512, "1", 1, "0"],
  ["kvBlocks", "--kv-blocks", "CANOPY_KV_BLOCKS", "64", 64, "2", 2, "1"],
  ["gpuMemory", "--gpu-memory", "CANOPY_GPU_MEMORY", "80", 80, "1", 1, "0"],
  [
    ...(["gpuMemoryUtilization", "--gpu-memory-utilization", "CANOPY_GPU_MEMORY_UTILIZATION"] as const),
    ...(["0.5", 0.5, "1", 1, "1.1"] as const),
  ],
  ["kvDtype", "--kv-dtype", "CANOPY_KV_DTYPE", "q8", "q8", "f32", "f32", "q4"],
  ["prefixCache", "--prefix-cache", "CANOPY_PREFIX_CACHE", "off", "off", "on", "on", "yes"],
  ["maxNumSeqs", "--max-num-seqs", "CANOPY_MAX_NUM_SEQS", "16", 16, "1", 1, "-3"],
  ["tokenBudget", "--token-budget", "CANOPY_TOKEN_BUDGET", "256", 256, "1", 1, "1e3"],
  ["maxQueue", "--max-queue", "CANOPY_MAX_QUEUE", "0", 0, "9", 9, "1.5"],
  ["requestTimeout", "--request-timeout", "CANOPY_REQUEST_TIMEOUT", "600", 600, "1", 1, "0"],
  ["drafter", "--drafter", "CANOPY_DRAFTER", "eagle,./x", ["eagle", "./x"], "none", ["none"], "draft,x"],
  ["treeBudget", "--tree-budget", "CANOPY_TREE_BUDGET", "adaptive", "adaptive", "fixed", "fixed", "none"],
  ["tree", "--tree", "CANOPY_TREE", "4,2,1", [4, 2, 1], "sequoia", "sequoia", "64,64"],
  ["treeNodes", "--tree-nodes", "CANOPY_TREE_NODES", "16", 16, "1", 1, "0x10"],
  ["treeDepth", "--tree-depth", "CANOPY_TREE_DEPTH", "3", 3, "1", 1, "65"],
  ["treeTopk", "--tree-topk", "CANOPY_TREE_TOPK", "5", 5, "1", 1, "many"],
  [
    ...(["cape", "--cape", "CANOPY_CAPE", "0.25:9,1:2"] as const),
    [
      { upTo: 0.25, numCandidates: 9 },
      { upTo: 1, numCandidates: 2 },
    ],
    ...(["1:4", [{ upTo: 1, numCandidates: 4 }], "0.6:3,0.3:2"] as const),
  ],
  ["medusaTopk", "--medusa-topk", "CANOPY_MEDUSA_TOPK", "12", 12, "1", 1, "0"],
  ["checkInvariants", "--check-invariants", "CANOPY_CHECK_INVARIANTS", "on", "on", "off", "off", "1"],
  ["logLevel", "--log-level", "CANOPY_LOG_LEVEL", "debug", "debug", "silent", "silent", "loud"],
];

describe("every setting", () => {
  it("is in the table of this test", () => {
    // --api-key-file needs a file, and has tests of its own in config-load.test.ts.
    expect(SETTINGS.map(({ key }) => key).filter((key) => key !== "apiKeyFile")).toEqual(
      expect.arrayContaining(CASES.map(([key]) => key)),
    );
    expect(SETTINGS).toHaveLength(CASES.length + 1);
  });

  it("has its documented default", () => {
    expect(load([])).toEqual(DEFAULTS);
  });

  it.each(CASES)("%s: flag, twin, precedence, bad value", (key, flag, env, text, value, other, otherValue, bad) => {
    expect(load([flag, text])[key]).toEqual(value);
    expect(load([`${flag}=${other}`])[key]).toEqual(otherValue);
    expect(load([], { [env]: text })[key]).toEqual(value);
    expect(load([flag, other], { [env]: text })[key]).toEqual(otherValue);
    expect({ ...load([flag, text]), [key]: undefined }).toEqual({ ...DEFAULTS, [key]: undefined });
    expect(usageError([`${flag}=${bad}`])).toContain(`${flag} must`);
    if (bad) expect(usageError([], { [env]: bad })).toContain(`${env} must`);
  });
});

describe("the result", () => {
  it("is frozen", () => {
    const config = load(["--api-key", "a"]);
    expect(() => Object.assign(config, { port: 1 })).toThrow(TypeError);
    expect(() => Object.assign(config.apiKey, { length: 0 })).toThrow(TypeError);
    expect(() => Object.assign(config.allowedHosts, ["x"])).toThrow(TypeError);
  });

  it("gives the engine its own defaults, and sizes only where they were set", () => {
    const { profile: _profile, stepsInFlight: _stepsInFlight, ...defaults } = ENGINE_DEFAULTS;
    expect(toEngineOptions(load([]))).toEqual({ model: "sapling-14m", ...defaults, drafter: [defaults.drafter] });
    const args = "m --max-model-len 64 --kv-blocks 9 --drafter none --adapter gpu --max-num-seqs 2 --token-budget 32";
    expect(
      toEngineOptions(load([...args.split(" "), ..."--tree-nodes 4 --tree-depth 2 --tree-topk 1".split(" ")])),
    ).toEqual({
      ...{
        model: "m",
        maxModelLen: 64,
        numKvBlocks: 9,
        drafter: ["none"],
        adapter: "gpu",
        maxNumSeqs: 2,
        tokenBudget: 32,
      },
      ...{
        treeBudget: "fixed",
        treeNodes: 4,
        treeDepth: 2,
        treeTopK: 1,
        cape: ENGINE_DEFAULTS.cape,
        medusaCandidates: ENGINE_DEFAULTS.medusaCandidates,
        gpuMemoryUtilization: 0.9,
        kvDtype: "auto",
        prefixCache: true,
        checkInvariants: false,
      },
    });
  });
});
