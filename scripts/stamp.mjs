import { createHash } from "node:crypto";
import { readdirSync, readFileSync, statSync } from "node:fs";
import { join } from "node:path";

const FOLDERS = ["server", "engine", "scheduler", "kvcache", "kernels", "bench"];

/** A digest of every source file's path, size and time of change: when it differs from dist/.stamp, dist is stale. */
export function sourceStamp(root) {
  const hash = createHash("sha256").update(readFileSync(join(root, "tsconfig.json")));
  for (const folder of FOLDERS) {
    for (const name of readdirSync(join(root, folder), { recursive: true, encoding: "utf8" }).sort()) {
      const { size, mtimeMs } = statSync(join(root, folder, name));
      hash.update(`${folder}/${name} ${size} ${mtimeMs}\n`);
    }
  }
  return hash.digest("hex");
}
