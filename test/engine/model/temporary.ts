import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { afterAll } from "vitest";

/** Makes folders of files that vanish after the test file's last test. */
export function temporaryFolders(): (files: Readonly<Record<string, string | Uint8Array | object>>) => string {
  const root = mkdtempSync(join(tmpdir(), "canopy-model-"));
  afterAll(() => rmSync(root, { recursive: true }));
  let count = 0;
  return (files) => {
    const folder = join(root, String(count++));
    mkdirSync(folder);
    for (const [name, contents] of Object.entries(files)) {
      mkdirSync(dirname(join(folder, name)), { recursive: true });
      const raw = typeof contents === "string" || contents instanceof Uint8Array;
      writeFileSync(join(folder, name), raw ? contents : JSON.stringify(contents));
    }
    return folder;
  };
}
