import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import fc from "fast-check";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { loadConfig, UsageError } from "../../server/config-load.ts";
import { SETTINGS } from "../../server/config-settings.ts";
import { closest } from "../../server/config-suggest.ts";
import { DEFAULTS, load, usageError } from "./config-case.ts";

let folder = "";
beforeAll(() => {
  folder = mkdtempSync(join(tmpdir(), "canopy-config-"));
});
afterAll(() => rmSync(folder, { recursive: true }));

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
    for (const host of ["MyBox:8181", "[::1]:8181", "http://mybox", "mybox/"])
      expect(usageError(["--allowed-hosts", host])).toBe(
        `--allowed-hosts must be a host name or an IP address, without scheme or port, not "${host}"`,
      );
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
