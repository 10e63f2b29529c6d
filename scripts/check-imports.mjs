// The import rule: folders import only downwards, and no file takes part in an import cycle.
import { readdirSync, readFileSync } from "node:fs";
import { dirname, join, relative, resolve } from "node:path";

const ALLOWED = {
  server: ["server", "engine", "scheduler", "kvcache", "kernels"],
  engine: ["engine", "scheduler", "kvcache", "kernels"],
  scheduler: ["scheduler", "kvcache"],
  kvcache: ["kvcache"],
  kernels: ["kernels"],
};
const root = resolve(import.meta.dirname, "..");
const files = Object.keys(ALLOWED).flatMap((top) =>
  readdirSync(join(root, top), { recursive: true, encoding: "utf8" })
    .filter((f) => f.endsWith(".ts"))
    .map((f) => join(top, f)),
);
const importsOf = (file) =>
  [...readFileSync(join(root, file), "utf8").matchAll(/(?:from|import\()\s*"(\.[^"]+)"/g)].map((m) =>
    relative(root, resolve(root, dirname(file), m[1])),
  );
const graph = new Map(files.map((file) => [file, importsOf(file)]));
const problems = [];

for (const [file, imports] of graph) {
  const top = file.split("/")[0];
  for (const target of imports) {
    if (!ALLOWED[top].includes(target.split("/")[0]))
      problems.push(`${file} imports ${target}: ${top}/ may import only ${ALLOWED[top].join(", ")}`);
    if (target.endsWith(".ts") && !graph.has(target)) problems.push(`${file} imports ${target}, which does not exist`);
  }
}

const state = new Map();
const visit = (file, path) => {
  if (state.get(file) === "done") return;
  if (state.get(file) === "open") {
    problems.push(`cycle: ${[...path.slice(path.indexOf(file)), file].join(" -> ")}`);
    return;
  }
  state.set(file, "open");
  for (const next of graph.get(file) ?? []) visit(next, [...path, file]);
  state.set(file, "done");
};
for (const file of files) visit(file, []);

if (problems.length > 0) {
  console.error(problems.join("\n"));
  process.exit(1);
}
console.log(`import rule: ${files.length} files, no violation, no cycle`);
