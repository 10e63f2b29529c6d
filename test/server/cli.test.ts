import { type ChildProcess, spawn } from "node:child_process";
import { once } from "node:events";
import { existsSync } from "node:fs";
import { join } from "node:path";
import { afterEach, describe, expect, it } from "vitest";
import manifest from "../../package.json" with { type: "json" };
import { SETTINGS } from "../../server/config-settings.ts";
import { temporaryFolders } from "../engine/model/temporary.ts";
import { tinyGguf } from "../engine/model/tiny-model.ts";

const ROOT = join(import.meta.dirname, "..", "..");
const folderOf = temporaryFolders();
const children: ChildProcess[] = [];
afterEach(() => {
  for (const child of children.splice(0)) child.kill("SIGKILL");
});

function canopy(args: readonly string[], env: Readonly<Record<string, string>> = {}) {
  const argv = ["--import", "tsx", join(ROOT, "server", "cli.ts"), ...args];
  const child = spawn(process.execPath, argv, { cwd: ROOT, env: { ...process.env, ...env } });
  children.push(child);
  const written = { out: "", err: "" };
  child.stdout.on("data", (chunk) => {
    written.out += chunk;
  });
  child.stderr.on("data", (chunk) => {
    written.err += chunk;
  });
  const ended = once(child, "close").then(([code]) => ({ code: code as number | null, ...written }));
  return { child, written, ended };
}

describe("canopy", () => {
  it("shows help, and help of serve with every setting, its twin and its default", async () => {
    const [none, main, serve, short] = await Promise.all(
      [[], ["--help"], ["serve", "--help"], ["serve", "m", "-h"]].map((args) => canopy(args).ended),
    );
    expect([none?.code, main?.code, serve?.code]).toEqual([0, 0, 0]);
    expect(main?.out).toContain("canopy serve [MODEL] [options]");
    expect([none?.out, short?.out]).toEqual([main?.out, serve?.out]);
    const help = serve?.out ?? "";
    for (const { flag, env } of SETTINGS) {
      expect(help).toContain(` ${flag} `);
      expect(help).toContain(`[${env}]`);
    }
    expect(help).toContain("  --drafter auto|draft|eagle|glide|medusa|suffix|none|PATH ...\n");
    expect(help).toContain("(default: 8181) [CANOPY_PORT]");
    expect(help).toContain("  --api-key KEY ...\n");
    expect(Math.max(...help.split("\n").map((line) => line.length))).toBeLessThanOrEqual(110);
    expect(`${main?.err}${serve?.err}`).toBe("");
  });

  it("shows its version", async () => {
    for (const args of [["--version"], ["serve", "-v"]]) {
      expect(await canopy(args).ended).toMatchObject({ code: 0, out: `canopy ${manifest.version}\n` });
    }
  });

  it.each([
    [["serve", "--prot", "1"], {}, "unknown option --prot; did you mean --port?"],
    [["serve", "--port", "http"], {}, '--port must be a whole number from 0 to 65535, not "http"'],
    [
      ["serve"],
      { CANOPY_DRAFTER: "x" },
      'CANOPY_DRAFTER must be one of auto, draft, eagle, glide, medusa, suffix, none, or a path such as ./folder, not "x"',
    ],
    [["srve"], {}, "unknown command srve; did you mean canopy serve?"],
    [["sapling-14m"], {}, "unknown command sapling-14m; to serve a model: canopy serve sapling-14m"],
    [["--api-key", "hush"], {}, "options follow the command: canopy serve --api-key ..."],
  ])("%j %j is a usage error with exit code 2", async (args, env, message) => {
    expect(await canopy(args, env).ended).toEqual({ code: 2, out: "", err: `canopy: ${message}\n` });
  });

  it("makes a table of successors, and says how", async () => {
    const folder = folderOf({ "tiny.gguf": tinyGguf() });
    const out = join(folder, "table.safetensors");
    const [help, made, two] = await Promise.all([
      canopy(["successors", "--help"]).ended,
      canopy(["successors", folder, "--out", out, "--adapter", "software"]).ended,
      canopy(["successors", "one", "two"]).ended,
    ]);
    expect(help).toMatchObject({ code: 0, out: expect.stringContaining("canopy successors [MODEL] [options]") });
    expect(made).toMatchObject({ code: 0, out: expect.stringContaining(`${out}: 7 successors of each of 8 tokens`) });
    expect(existsSync(out)).toBe(true);
    expect(two).toMatchObject({ code: 2, err: expect.stringContaining("of one model, but more are given: two") });
  });

  it("tells which models there are when the one asked for is not", async () => {
    const { code, err } = await canopy(["serve", "no-such-model", "--port", "0"]).ended;
    expect(code).toBe(1);
    expect(err).toMatch(/^canopy: "no-such-model": neither a bundled model .*bundled: .*sapling-14m/);
    expect(err).toContain("\n  fix:  ");
  });

  it("drains a stream after SIGTERM and exits with 0", async () => {
    const { child, written, ended } = canopy([
      "serve",
      "--port",
      "0",
      "--adapter",
      "software",
      "--max-model-len",
      "256",
      "--drafter",
      "draft",
    ]);
    await expect.poll(() => written.out, { timeout: 50_000 }).toMatch(/ready at http/);
    const url = /"url":"([^"]+)"/.exec(written.out)?.[1];
    const response = await fetch(`${url}/v1/completions`, {
      method: "POST",
      headers: { "content-type": "application/json" },
      body: JSON.stringify({ prompt: "Once upon a time", max_tokens: 60, temperature: 0, stream: true }),
    });
    child.kill("SIGTERM");
    expect((await response.text()).endsWith("data: [DONE]\n\n")).toBe(true);
    const { code, out } = await ended;
    expect(code).toBe(0);
    expect(out).toContain('"requests":1,"msg":"shutting down: requests under way may finish"');
    expect(out).toContain('"msg":"shut down"');
  });
});
