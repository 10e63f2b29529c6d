import { existsSync, readdirSync, readFileSync } from "node:fs";
import { expect, it } from "vitest";

const pages = readdirSync("docs").filter((name) => name.endsWith(".md"));

it.each(pages)("%s names test files that are there", (page) => {
  const named = readFileSync(`docs/${page}`, "utf8").match(/\btest\/[\w./-]+\.ts\b/g) ?? [];
  expect(named.filter((path) => !existsSync(path))).toEqual([]);
});
