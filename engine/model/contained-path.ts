import { realpathSync } from "node:fs";
import { basename, dirname, isAbsolute, join, sep } from "node:path";
import { ModelFileError } from "../errors.ts";
import { asModelFileError } from "./model-file.ts";

/**
 * Path of the file that another file calls `name`, inside `folder` also after symbolic links are followed.
 * The hub's cache links snapshots/<revision>/name to ../../blobs/<hash>: for such a folder the bound is the
 * repository's folder.
 * @throws ModelFileError malformed when the name leads outside, not_found when there is no such file.
 */
export function containedPath(folder: string, name: string, namedBy: string): string {
  const outside = () => new ModelFileError("malformed", namedBy, `file name ${JSON.stringify(name)} leads outside`);
  if (name === "" || name.length > 4096 || name.includes("\0") || isAbsolute(name)) throw outside();
  if (name.split(/[\\/]/).includes("..")) throw outside();
  const path = join(folder, name);
  try {
    const realFolder = realpathSync(folder);
    const inCache = basename(dirname(realFolder)) === "snapshots";
    const bound = inCache ? dirname(dirname(realFolder)) : realFolder;
    if (!realpathSync(path).startsWith(bound.endsWith(sep) ? bound : bound + sep)) throw outside();
  } catch (error) {
    throw asModelFileError(error, path);
  }
  return path;
}
