import { execFile } from "node:child_process";
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { promisify } from "node:util";
import { expect, it } from "vitest";

const root = join(import.meta.dirname, "../../..");

it("the example of docs/flash-decoding-attention.md runs, prints what the page says, and ends", async () => {
  const page = readFileSync(join(root, "docs/flash-decoding-attention.md"), "utf8");
  const [, code = ""] = /```js\n(.*?)```/s.exec(page) ?? [];
  const [, printed] = /It prints `(.*)`/.exec(page) ?? [];
  const folder = mkdtempSync(join(tmpdir(), "canopy-docs-"));
  try {
    const file = join(folder, "example.mts");
    // From the sources instead of the built package.
    const index = JSON.stringify(join(root, "kernels/index.ts"));
    writeFileSync(file, code.replace('"canopy-inference/kernels"', index));
    const tsx = join(root, "node_modules/tsx/dist/cli.mjs");
    const { stdout } = await promisify(execFile)(process.execPath, [tsx, file], { timeout: 50_000 });
    expect(stdout.trim()).toBe(printed);
  } finally {
    rmSync(folder, { recursive: true });
  }
});
