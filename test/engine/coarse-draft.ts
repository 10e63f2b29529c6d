import { cpSync, mkdtempSync, readFileSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import type { DrafterPath } from "../../engine/engine-options.ts";
import { resolveModel } from "../../engine/model/bundled.ts";

/**
 * The small model with a coarser norm, as a drafter for itself: right often, not always, and a target that takes a tenth of the
 * large one's time.
 * @returns a new folder, which the caller removes
 */
export function coarseDraftFolder(): DrafterPath {
  const folder = mkdtempSync(join(tmpdir(), "canopy-coarse-")) as DrafterPath;
  cpSync(resolveModel("sapling-2m-draft"), folder, { recursive: true });
  const path = join(folder, "config.json");
  const config = JSON.parse(readFileSync(path, "utf8")) as Record<string, unknown>;
  writeFileSync(path, JSON.stringify({ ...config, rms_norm_eps: 0.02 }));
  return folder;
}
