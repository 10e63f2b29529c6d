import { readFileSync } from "node:fs";
import { parseArgs } from "node:util";
import type { z } from "zod";
import { type Config, configSchema } from "./config.ts";
import { POSITIONAL, SETTINGS, type Setting } from "./config-settings.ts";
import { closest } from "./config-suggest.ts";

/** The command line or the environment asks for something that cannot be. */
export class UsageError extends Error {
  override readonly name = "UsageError";
  readonly code = "usage";
}

export type Environment = Readonly<Record<string, string | undefined>>;

export interface LoadedConfig {
  /** Frozen. Keys of `--api-key-file` are among `apiKey`. */
  readonly config: Config;
  /** What looks like a mistake without being an error. */
  readonly warnings: readonly string[];
}

/** Values as they were written, and where. */
interface Given {
  readonly setting: Setting;
  /** "--port" or "CANOPY_PORT". */
  readonly source: string;
  readonly values: readonly string[];
}

type Parsed = Map<keyof Config, Given>;

/**
 * The configuration that arguments (those after `serve`) and environment give: a flag wins over its environment twin,
 * which wins over the default.
 * @throws UsageError naming flag or variable, the value and what it may be.
 */
export function loadConfig(args: readonly string[], env: Environment = process.env): LoadedConfig {
  const given = new Map([...parseEnvironment(env), ...parseArguments(args)]);
  const config = check(given);
  const keys = config.apiKeyFile === undefined ? [] : readKeys(config.apiKeyFile, given);
  const apiKey = Object.freeze([...new Set([...config.apiKey, ...keys])]);
  return { config: Object.freeze({ ...config, apiKey }), warnings: findMisspelt(env) };
}

function parseArguments(args: readonly string[]): Parsed {
  const options = Object.fromEntries(SETTINGS.map(({ flag }) => [flag.slice(2), { type: "string" as const }]));
  const { tokens } = parseArgs({
    args: args.map(completeSwitch),
    options,
    tokens: true,
    strict: false,
    allowPositionals: true,
  });
  const parsed: Parsed = new Map();
  for (const token of tokens) {
    if (token.kind === "positional") addPositional(parsed, token.value);
    if (token.kind === "option") addFlag(parsed, token.rawName, token.value, token.inlineValue ?? false);
  }
  return parsed;
}

/** What is on or off may stand alone: then it is on. */
function completeSwitch(arg: string, at: number, args: readonly string[]): string {
  const isSwitch = SETTINGS.some(({ flag, valueText }) => flag === arg && valueText === "on|off");
  return isSwitch && (args[at + 1]?.startsWith("-") ?? true) ? `${arg}=on` : arg;
}

function addPositional(parsed: Parsed, value: string): void {
  const setting = SETTINGS.find(({ key }) => key === POSITIONAL);
  const before = parsed.get(POSITIONAL);
  if (before)
    throw new UsageError(`one model is served at a time, but two are given: ${before.values[0]} and ${value}`);
  if (setting) parsed.set(POSITIONAL, { setting, source: setting.info.placeholder ?? setting.key, values: [value] });
}

function addFlag(parsed: Parsed, name: string, value: string | undefined, isInline: boolean): void {
  const setting = SETTINGS.find(({ flag }) => flag === name);
  if (setting === undefined) throw unknownFlag(name);
  if (value === undefined) throw new UsageError(`${name} needs a value: ${name} ${setting.valueText}`);
  if (!isInline && /^-[^\d]/.test(value)) {
    const message = `${name} needs a value, but ${value} follows; a value that starts with a dash is written ${name}=VALUE`;
    throw new UsageError(message);
  }
  const before = setting.isList ? (parsed.get(setting.key)?.values ?? []) : [];
  parsed.set(setting.key, { setting, source: name, values: [...before, ...split(setting, value)] });
}

function unknownFlag(name: string): UsageError {
  const flags = [...SETTINGS.map(({ flag }) => flag), "--help", "--version"];
  const meant = closest(name, flags) ?? flags.find((flag) => /^-[a-z]$/.test(name) && flag.startsWith(`-${name}`));
  const advice = meant === undefined ? "see canopy serve --help" : `did you mean ${meant}?`;
  return new UsageError(`unknown option ${name}; ${advice}`);
}

function parseEnvironment(env: Environment): Parsed {
  const parsed: Parsed = new Map();
  for (const setting of SETTINGS) {
    const value = env[setting.env];
    // Compose files pass variables that are not set on as empty ones.
    if (value === undefined || value === "" || isServiceLink(setting, value)) continue;
    parsed.set(setting.key, { setting, source: setting.env, values: split(setting, value) });
  }
  return parsed;
}

/** Kubernetes gives each container CANOPY_PORT=tcp://10.0.0.1:8181 where a Service is named "canopy". */
function isServiceLink({ key }: Setting, value: string): boolean {
  return key === "port" && /^(?:tcp|udp|sctp):\/\//.test(value);
}

/** A misspelt CANOPY_API_KEYS would otherwise leave a server open without a word. */
function findMisspelt(env: Environment): string[] {
  const known = SETTINGS.map((setting) => setting.env);
  return Object.keys(env)
    .filter((name) => name.startsWith("CANOPY_") && !known.includes(name) && !/_(?:PORT|SERVICE)_/.test(name))
    .flatMap((name) => {
      const meant = closest(name, known);
      return meant === undefined ? [] : [`the variable ${name} means nothing here; did you mean ${meant}?`];
    });
}

function split({ isList }: Setting, value: string): string[] {
  return isList ? value.split(",").map((item) => item.trim()) : [value];
}

function check(given: Parsed): Config {
  const values = [...given].map(([key, { setting, values }]) => [key, setting.isList ? values : values.at(-1)]);
  const result = configSchema.safeParse(Object.fromEntries(values));
  if (result.success) return result.data;
  throw new UsageError(result.error.issues.map((issue) => describe(issue, given)).join("\n"));
}

function describe({ path: [key, index], message }: z.core.$ZodIssue, given: Parsed): string {
  const found = [...given.values()].find(({ setting }) => setting.key === key);
  if (found === undefined) return `${String(key)} ${message}`;
  const value = typeof index === "number" ? found.values[index] : found.values.join();
  return `${found.source} ${message}${found.setting.info.secret ? "" : `, not ${JSON.stringify(value)}`}`;
}

function readKeys(path: string, given: Parsed): readonly string[] {
  const source = given.get("apiKeyFile")?.source ?? path;
  let text: string;
  try {
    text = readFileSync(path, "utf8");
  } catch (error) {
    throw new UsageError(`${source}: cannot read ${path} (${error instanceof Error ? error.message : error})`);
  }
  const lines = text.split(/\r?\n/).map((line) => line.trim());
  const keys = lines.filter((line) => line !== "" && !line.startsWith("#"));
  if (keys.length === 0) throw new UsageError(`${source}: ${path} holds no key; write one a line`);
  const result = configSchema.shape.apiKey.safeParse(keys);
  if (result.success) return result.data;
  const numbers = result.error.issues.map(({ path: [index] }) => lines.indexOf(keys[Number(index)] ?? "") + 1);
  throw new UsageError(`${source}: ${path}, line ${numbers.join(", ")}: a key ${result.error.issues[0]?.message}`);
}
