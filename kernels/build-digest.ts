import { createHash } from "node:crypto";
import { readdirSync, readFileSync } from "node:fs";
import { createRequire } from "node:module";
import { join } from "node:path";

let digest: string | undefined;

/**
 * SHA-256, hex, over what becomes a device's code: every shader, and the version of the package that holds Dawn, which
 * compiles them. Builds that differ here may differ in a logit's last bit. Read once: compiled shaders are kept as well.
 */
export function buildDigest(): string {
  digest ??= readBuild();
  return digest;
}

function readBuild(): string {
  const folder = join(import.meta.dirname, "wgsl");
  const { version } = createRequire(import.meta.url)("webgpu/package.json") as { readonly version: string };
  const hash = createHash("sha256").update(version);
  for (const name of readdirSync(folder).sort()) hash.update(`\n${name}\n`).update(readFileSync(join(folder, name)));
  return hash.digest("hex");
}
