import { randomUUID } from "node:crypto";
import { link, mkdir, readFile, rename, rm, writeFile } from "node:fs/promises";
import { dirname } from "node:path";

/** What a file of JSON holds; undefined where there is none, or it is damaged. */
export async function readJson(path: string): Promise<unknown> {
  try {
    return JSON.parse(await readFile(path, "utf8"));
  } catch {
    return undefined;
  }
}

/**
 * Writes `value` unless another process was first, and returns what the file then holds: whoever asks gets the same answer. A file that
 * `accept` refuses is replaced. Never half a file. Where nothing can be written, `value` itself.
 */
export async function publishJson<T>(path: string, value: T, accept: (data: unknown) => T | undefined): Promise<T> {
  const draft = `${path}.${randomUUID()}`;
  try {
    await mkdir(dirname(path), { recursive: true });
    await writeFile(draft, JSON.stringify(value));
    // A link fails where the file exists; a rename would replace it.
    const isFirst = await link(draft, path).then(
      () => true,
      () => false,
    );
    const first = isFirst ? undefined : accept(await readJson(path));
    if (first !== undefined) return first;
    if (!isFirst) await rename(draft, path);
  } catch {
    // A folder that cannot be written costs a search at each start, and no more.
  } finally {
    await rm(draft, { force: true }).catch(() => {});
  }
  return value;
}
