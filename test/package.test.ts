import { execFileSync } from "node:child_process";
import { existsSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { describe, expect, it } from "vitest";
import manifest from "../package.json" with { type: "json" };

const ROOT = join(import.meta.dirname, "..");
const node = (...args: readonly string[]) => execFileSync(process.execPath, args, { cwd: ROOT, encoding: "utf8" });

// What is tested is what is published: dist/, which `npm test` builds.

describe("the package", () => {
  it.each([
    ["canopy-inference", ["createEngine", "GREEDY", "EngineRequestError", "ModelText"]],
    ["canopy-inference/kernels", ["openGpu", "createGpuContext"]],
    ["canopy-inference/server", ["buildApp", "serve", "loadConfig"]],
  ])("%s can be imported by that name", (name, functions) => {
    const script = `console.log(JSON.stringify(Object.keys(await import(${JSON.stringify(name)}))))`;
    expect(JSON.parse(node("--input-type=module", "-e", script))).toEqual(expect.arrayContaining(functions));
  });

  it("has the files that its manifest names, types among them", () => {
    const targets = [...Object.values(manifest.exports).flatMap((entry) => Object.values(entry)), manifest.bin.canopy];
    expect(targets.filter((target) => !existsSync(join(ROOT, target)))).toEqual([]);
    expect(node(manifest.bin.canopy, "--version")).toBe(`canopy ${manifest.version}\n`);
  });

  it("runs the README's library example", () => {
    const readme = readFileSync(join(ROOT, "README.md"), "utf8");
    const blocks = [...readme.matchAll(/^```js\n(.*?)^```$/gms)].map(([, code = ""]) => code);
    const [example] = blocks.filter((code) => code.includes('from "canopy-inference"'));
    expect(node("--input-type=module", "-e", example ?? "").length).toBeGreaterThan(50);
  });
});
