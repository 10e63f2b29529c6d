import { randomBytes } from "node:crypto";
import { existsSync, mkdirSync, readFileSync, renameSync, rmSync, writeFileSync } from "node:fs";
import { createRequire } from "node:module";
import { constants } from "node:os";
import { dirname, join } from "node:path";
import { brotliDecompressSync } from "node:zlib";
import { GpuError } from "./errors.ts";

/** RTLD_NODELETE of glibc and musl; Node's constants lack it. Without it a failed dlopen unloads the library again. */
const RTLD_NODELETE = 0x1000;
const ICD_FILE = "vk_swiftshader_icd.json";

/**
 * Makes the SwiftShader that ships inside the npm package @sparticuz/chromium usable as this process's Vulkan driver:
 * unpacks it below `cacheDir` once, points the Vulkan loader at it, and makes the loader itself resident.
 * Must run before Dawn's `create()`. Linux x64 only.
 * @returns false where the package or the platform does not offer it.
 * @throws GpuError no_adapter where it cannot be unpacked
 */
export function installSwiftShader(cacheDir: string): boolean {
  if (process.platform !== "linux" || process.arch !== "x64") return false;
  const archive = findArchive();
  if (archive === undefined) return false;
  const folder = unpackOnce(archive.path, join(cacheDir, `swiftshader-${archive.version}`));
  process.env.VK_DRIVER_FILES = join(folder, ICD_FILE);
  makeResident(join(folder, "libvulkan.so.1"));
  return true;
}

function findArchive(): { path: string; version: string } | undefined {
  try {
    const require = createRequire(import.meta.url);
    const entry = require.resolve("@sparticuz/chromium");
    let root = dirname(entry);
    while (!existsSync(join(root, "bin", "swiftshader.tar.br"))) {
      if (dirname(root) === root) return undefined;
      root = dirname(root);
    }
    const version = String(
      (JSON.parse(readFileSync(join(root, "package.json"), "utf8")) as { version?: unknown }).version,
    );
    return { path: join(root, "bin", "swiftshader.tar.br"), version };
  } catch {
    return undefined;
  }
}

/** Unpacks into a private folder and renames it into place, so that two starting processes never see half of it. */
function unpackOnce(archive: string, folder: string): string {
  if (existsSync(join(folder, ICD_FILE))) return folder;
  const partial = `${folder}.${randomBytes(6).toString("hex")}`;
  try {
    mkdirSync(partial, { recursive: true });
    for (const file of readTar(brotliDecompressSync(readFileSync(archive)))) {
      writeFileSync(join(partial, file.name), file.data, { mode: 0o755 });
    }
    renameSync(partial, folder);
  } catch (error) {
    if (existsSync(partial)) rmSync(partial, { recursive: true });
    if (existsSync(join(folder, ICD_FILE))) return folder;
    const cause = error instanceof Error ? error.message : String(error);
    const message = `The bundled software adapter could not be unpacked: ${cause}. Set HOME to a folder that can be written to.`;
    throw new GpuError("no_adapter", message, { cause: error });
  }
  return folder;
}

/** Regular files at the top level of a ustar archive. */
function* readTar(tar: Buffer): Generator<{ name: string; data: Buffer }> {
  for (let offset = 0; offset + 512 <= tar.length; ) {
    const header = tar.subarray(offset, offset + 512);
    const field = (start: number, length: number) =>
      header
        .toString("latin1", start, start + length)
        .replace(/\0.*$/s, "")
        .trim();
    const name = field(0, 100).replace(/^\.\//, "");
    if (name === "") return;
    const size = Number.parseInt(field(124, 12), 8);
    const isFile = header[156] === 0 || header[156] === 0x30;
    if (isFile && /^[\w.-]+$/.test(name)) yield { name, data: tar.subarray(offset + 512, offset + 512 + size) };
    offset += 512 + Math.ceil(size / 512) * 512;
  }
}

/** dlopen refuses a library that is no Node addon, but leaves it loaded, so that Dawn finds it by its soname. */
function makeResident(library: string): void {
  try {
    process.dlopen(
      { exports: {} } as unknown as NodeModule,
      library,
      constants.dlopen.RTLD_NOW | constants.dlopen.RTLD_GLOBAL | RTLD_NODELETE,
    );
  } catch (error) {
    if (!(error instanceof Error) || !error.message.includes("self-register")) throw error;
  }
}
