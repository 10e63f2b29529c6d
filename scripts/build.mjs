// Compiles to dist/, copies what is not TypeScript, and stamps the result so that `ensure.mjs` knows when it is stale.
import { execFileSync } from "node:child_process";
import { cpSync, mkdirSync, readdirSync, rmSync, writeFileSync } from "node:fs";
import { join, resolve } from "node:path";
import { sourceStamp } from "./stamp.mjs";

const root = resolve(import.meta.dirname, "..");
rmSync(join(root, "dist"), { recursive: true, force: true });
const tsc = join(root, "node_modules", "typescript", "bin", "tsc");
execFileSync(process.execPath, [tsc, "-p", join(root, "tsconfig.build.json")], { stdio: "inherit" });
for (const folder of ["kernels/wgsl", "server/dashboard"]) {
  mkdirSync(join(root, "dist", folder), { recursive: true });
  for (const name of readdirSync(join(root, folder))) {
    if (!name.endsWith(".ts")) cpSync(join(root, folder, name), join(root, "dist", folder, name), { recursive: true });
  }
}
writeFileSync(join(root, "dist", ".stamp"), sourceStamp(root));
