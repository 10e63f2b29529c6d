import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import fc from "fast-check";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { ENGINE_DEFAULTS } from "../../engine/engine-options.ts";
import { type Config, toEngineOptions } from "../../server/config.ts";
import { type Environment, loadConfig, UsageError } from "../../server/config-load.ts";
import { SETTINGS } from "../../server/config-settings.ts";
import { closest } from "../../server/config-suggest.ts";

let folder = "";
beforeAll(() => {
  folder = mkdtempSync(join(tmpdir(), "canopy-config-"));
});
afterAll(() => rmSync(folder, { recursive: true }));

const load = (args: readonly string[], env: Environment = {}): Config => loadConfig(args, env).config;

function usageError(args: readonly string[], env: Environment = {}): string {
  try {
    loadConfig(args, env);
  } catch (error) {
    if (error instanceof UsageError) return error.message;
    throw error;
  }
  throw new Error(`no error for ${args.join(" ")}`);
}

const DEFAULTS = {
  model: "sapling-14m",
  servedModelName: [],
  adapter: "auto",
  port: 8181,
  host: "127.0.0.1",
  apiKey: [],
  allowedHosts: [],
  allowedOrigins: [],
  gpuMemoryUtilization: 0.9,
  kvDtype: "auto",
  prefixCache: "on",
  maxNumSeqs: 8,
  tokenBudget: 128,
  maxQueue: 256,
  drafter: ["auto"],
  treeBudget: "fixed",
  treeNodes: 8,
  treeDepth: 4,
  treeTopk: 3,
  cape: [...ENGINE_DEFAULTS.cape],
  medusaTopk: 8,
  checkInvariants: "off",
  logLevel: "info",
};

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
  ["allowedHosts", "--allowed-hosts", "CANOPY_ALLOWED_HOSTS", "a.example", ["a.example"], "b", ["b"], ""],
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
    // --api-key-file needs a file, and has tests of its own below.
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

describe("command line", () => {
  it("takes the model without a flag, before or after the options", () => {
    expect(load(["m", "--port", "1"]).model).toBe("m");
    expect(load(["--port", "1", "m"], { CANOPY_MODEL: "e" }).model).toBe("m");
    expect(usageError(["a", "b"])).toBe("one model is served at a time, but two are given: a and b");
  });

  it("gathers repeated lists and takes the last of repeated values", () => {
    const { apiKey, port } = load(["--api-key", "a", "--port", "1", "--api-key=b,c", "--port", "2", "--api-key", "a"]);
    expect([apiKey, port]).toEqual([["a", "b", "c"], 2]);
  });

  it("names the value, and its limits or its choices", () => {
    expect(usageError(["--port", "99999"])).toBe('--port must be a whole number from 0 to 65535, not "99999"');
    expect(usageError(["--kv-blocks", "-3"])).toMatch(/^--kv-blocks must be a whole number from 2 to \d+, not "-3"$/);
    expect(usageError(["--drafter", "x"])).toBe(
      '--drafter must be one of auto, draft, eagle, glide, medusa, suffix, none, or a path such as ./folder, not "x"',
    );
    expect(usageError(["--allowed-hosts", "a,,b"])).toBe('--allowed-hosts must not be empty, not ""');
  });

  it("tells every bad value at once", () => {
    const message = usageError(["--port", "x", "--adapter", "y"], { CANOPY_TREE_NODES: "z" });
    expect(message.split("\n").map((line) => line.split(" ")[0])).toEqual(
      expect.arrayContaining(["--port", "--adapter", "CANOPY_TREE_NODES"]),
    );
  });

  it.each([
    ["--prot", "--port"],
    ["--max-model", "--max-model-len"],
    ["--tree-top-k", "--tree-topk"],
    ["--apikey", "--api-key"],
    ["-p", "--port"],
    ["--hepl", "--help"],
  ])("knows what %s was meant to be", (flag, meant) => {
    expect(usageError([flag, "1"])).toBe(`unknown option ${flag}; did you mean ${meant}?`);
  });

  it("has no idea what --temperature was meant to be", () => {
    expect(usageError(["--temperature", "1"])).toBe("unknown option --temperature; see canopy serve --help");
  });

  it("takes a switch without a value for on", () => {
    expect(load(["--check-invariants"]).checkInvariants).toBe("on");
    expect(load(["--check-invariants", "--port", "1"])).toMatchObject({ checkInvariants: "on", port: 1 });
    expect(load(["--check-invariants", "off", "m"])).toMatchObject({ checkInvariants: "off", model: "m" });
    expect(usageError(["--check-invariants", "m"])).toContain("--check-invariants must be one of on, off");
  });

  it("says which value is missing", () => {
    expect(usageError(["--port"])).toBe("--port needs a value: --port PORT");
    expect(usageError(["--adapter"])).toBe("--adapter needs a value: --adapter auto|gpu|software");
    expect(usageError(["--host", "--port", "1"])).toContain("--host needs a value, but --port follows");
    expect(load(["--api-key=-dash"]).apiKey).toEqual(["-dash"]);
  });

  it("ends every list of words with a configuration or a usage error", () => {
    const word = fc.oneof(
      fc.constantFrom(...SETTINGS.map(({ flag }) => flag)),
      fc.string(),
      fc.constantFrom("1", "--"),
    );
    fc.assert(
      fc.property(fc.array(word, { maxLength: 5 }), (args) => {
        try {
          expect(Object.isFrozen(load(args.filter((arg) => !arg.includes("file"))))).toBe(true);
        } catch (error) {
          expect(error).toBeInstanceOf(UsageError);
        }
      }),
    );
  });
});

describe("environment", () => {
  it("takes an empty variable for one that is not set", () => {
    expect(load([], { CANOPY_PORT: "", CANOPY_API_KEY: "" })).toEqual(DEFAULTS);
  });

  it("lets a flag replace a list, not add to it", () => {
    expect(load(["--api-key", "b"], { CANOPY_API_KEY: "a" }).apiKey).toEqual(["b"]);
  });

  it("ignores what Kubernetes sets for a Service named canopy", () => {
    const links = {
      CANOPY_PORT: "tcp://10.0.0.1:8181",
      CANOPY_PORT_8181_TCP_ADDR: "10.0.0.1",
      CANOPY_SERVICE_HOST: "10.0.0.1",
      CANOPY_SERVICE_PORT: "8181",
    };
    expect(loadConfig([], links)).toEqual({ config: DEFAULTS, warnings: [] });
  });

  it("warns of a variable that looks misspelt", () => {
    expect(loadConfig([], { CANOPY_API_KEYS: "a", CANOPY_XYZ: "1", PATH: "/bin" }).warnings).toEqual([
      "the variable CANOPY_API_KEYS means nothing here; did you mean CANOPY_API_KEY?",
    ]);
  });
});

describe("API keys", () => {
  const fileWith = (text: string) => {
    const path = join(folder, "keys.txt");
    writeFileSync(path, text);
    return path;
  };

  it("come from flags and file together, each once", () => {
    const path = fileWith("# ours\r\nsk-b\n\n  sk-c  \nsk-a\n");
    expect(load(["--api-key", "sk-a", "--api-key-file", path]).apiKey).toEqual(["sk-a", "sk-b", "sk-c"]);
    expect(load([], { CANOPY_API_KEY_FILE: path }).apiKey).toEqual(["sk-b", "sk-c", "sk-a"]);
  });

  it("fail to load from a file that is absent, empty or wrong", () => {
    expect(usageError(["--api-key-file", join(folder, "none")])).toMatch(/--api-key-file: cannot read .*ENOENT/);
    expect(usageError([], { CANOPY_API_KEY_FILE: fileWith("# nothing\n") })).toMatch(
      /^CANOPY_API_KEY_FILE: .* holds no key/,
    );
    expect(usageError(["--api-key-file", fileWith("good\n\nbad key\n")])).toMatch(/line 3: a key must be printable/);
  });

  it("are never shown in a message", () => {
    const path = fileWith("secret word\n");
    const messages = [
      usageError(["--api-key", "secret word"]),
      usageError([], { CANOPY_API_KEY: "fine,secret word" }),
      usageError(["--api-key-file", path]),
    ];
    expect(messages.join()).not.toMatch(/secret|fine/);
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

describe("closest", () => {
  it.each([
    ["port", "prot"],
    ["port", "por"],
    ["port", "ports"],
    ["port", "part"],
  ])("finds %s for %s", (word, typo) => {
    expect(closest(typo, ["host", word, "drafter"])).toBe(word);
  });

  it("finds nothing for what is far from everything", () => {
    expect(closest("model", ["port", "host"])).toBeUndefined();
    expect(closest("x", [])).toBeUndefined();
  });
});
