// Makes a fresh clone ready: installs packages when missing or stale, builds when missing or stale. Silent when nothing is due.
import { execFileSync } from "node:child_process";
import { existsSync, lstatSync, readFileSync, statSync } from "node:fs";
import { join, resolve } from "node:path";

const root = resolve(import.meta.dirname, "..");
const at = (...path) => join(root, ...path);
const [major = 0, minor = 0] = process.versions.node.split(".").map(Number);
if (major < 20 || (major === 20 && minor < 11)) {
  console.error(`Canopy needs Node 20.11 or newer; this is ${process.versions.node}. See https://nodejs.org.`);
  process.exit(1);
}

const installed = at("node_modules", ".package-lock.json");
if (!existsSync(installed) || statSync(installed).mtimeMs < statSync(at("package-lock.json")).mtimeMs) {
  // npm ci would empty the folder that a link points to, for everyone who shares it.
  if (lstatSync(at("node_modules"), { throwIfNoEntry: false })?.isSymbolicLink()) {
    console.error(
      "canopy: node_modules is a link and not up to date with package-lock.json; run npm ci where it points to",
    );
    process.exit(1);
  }
  console.error("canopy: installing packages");
  execFileSync("npm", ["ci", "--no-audit", "--no-fund", "--loglevel=error", "--include=dev"], {
    cwd: root,
    stdio: ["ignore", 2, 2],
    shell: process.platform === "win32",
  });
}

const { sourceStamp } = await import("./stamp.mjs");
if (!existsSync(at("dist", ".stamp")) || readFileSync(at("dist", ".stamp"), "utf8") !== sourceStamp(root)) {
  if (!existsSync(at("node_modules", "typescript"))) process.exit(0); // a production install ships dist
  console.error("canopy: building");
  execFileSync(process.execPath, [at("scripts", "build.mjs")], { cwd: root, stdio: ["ignore", 2, 2] });
}
