import { execFile } from "node:child_process";
import { mkdirSync, mkdtempSync, readdirSync, rmSync, statSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { promisify } from "node:util";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { installSwiftShader } from "../../kernels/swiftshader.ts";

const run = promisify(execFile);
const SCRIPT = join(import.meta.dirname, "install-swiftshader.ts");
const DRIVER_FILES = ["libvk_swiftshader.so", "libvulkan.so.1", "vk_swiftshader_icd.json"];
let cacheDir: string;

beforeEach(() => {
  cacheDir = mkdtempSync(join(tmpdir(), "canopy-test-"));
});
afterEach(() => rmSync(cacheDir, { recursive: true, force: true }));

async function install(): Promise<unknown> {
  const { stdout } = await run(process.execPath, ["--import", "tsx", SCRIPT, cacheDir]);
  return JSON.parse(stdout);
}

// The package has Linux x64 libraries only.
describe.skipIf(process.platform !== "linux" || process.arch !== "x64")("the bundled SwiftShader", () => {
  const complete = { installed: true, icd: { ICD: { library_path: expect.stringContaining("libvk_swiftshader.so") } } };

  it("is unpacked once by processes that start together, whole for each of them, with nothing left over", async () => {
    const results = await Promise.all([install(), install(), install(), install()]);
    for (const result of results) expect(result).toMatchObject(complete);
    const [folder = "", ...others] = readdirSync(cacheDir);
    expect(others).toEqual([]);
    expect(readdirSync(join(cacheDir, folder))).toEqual(expect.arrayContaining(DRIVER_FILES));
    expect(statSync(join(cacheDir, folder, "libvk_swiftshader.so")).size).toBeGreaterThan(1e6);
  });

  it("is not there where its folder cannot be made, and the error says what to do", async () => {
    writeFileSync(join(cacheDir, "file"), "");
    expect(() => installSwiftShader(join(cacheDir, "file", "cache"))).toThrow(
      expect.objectContaining({ code: "no_adapter", message: expect.stringMatching(/ENOTDIR.*Set HOME/) }),
    );
    expect(readdirSync(cacheDir)).toEqual(["file"]);
  });

  it("is not taken from what a killed process left half done, and not unpacked again once it is there", async () => {
    await install();
    const [folder = ""] = readdirSync(cacheDir);
    rmSync(join(cacheDir, folder), { recursive: true });
    const partial = join(cacheDir, `${folder}.0123456789ab`);
    mkdirSync(partial);
    writeFileSync(join(partial, "vk_swiftshader_icd.json"), "{");
    expect(await install()).toMatchObject(complete);
    const { mtimeMs } = statSync(join(cacheDir, folder, "libvk_swiftshader.so"));
    expect(await install()).toMatchObject(complete);
    expect(statSync(join(cacheDir, folder, "libvk_swiftshader.so")).mtimeMs).toBe(mtimeMs);
  });
});
