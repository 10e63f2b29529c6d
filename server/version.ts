import { readFileSync } from "node:fs";

/** The package's version, found from the sources as well as from dist/. */
export const VERSION = readVersion();

function readVersion(): string {
  for (const path of ["../package.json", "../../package.json"]) {
    try {
      const parsed: unknown = JSON.parse(readFileSync(new URL(path, import.meta.url), "utf8"));
      if (typeof parsed === "object" && parsed !== null && "version" in parsed) return String(parsed.version);
    } catch {
      // Not here: the other depth has it.
    }
  }
  return "unknown";
}
