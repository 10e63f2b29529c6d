import type { SettingInfo } from "./config.ts";
import { POSITIONAL, SETTINGS, type Setting } from "./config-settings.ts";
import { VERSION } from "./version.ts";

const WIDTH = 100;
const INDENT = 6;

export function versionText(): string {
  return `canopy ${VERSION}`;
}

export function mainHelp(): string {
  return `Canopy ${VERSION}: speculative decoding inference server on WebGPU

Usage
  canopy serve [MODEL] [options]    serve a model through an OpenAI-compatible API
  canopy serve --help               every option of serve
  canopy successors [MODEL]         make a table that Medusa's heads draft better with
  canopy --version

Examples
  canopy serve                      the bundled model on http://127.0.0.1:8181
  canopy serve ./model.gguf --port 8000
`;
}

/** Help of `canopy serve`, made from the settings. */
export function serveHelp(): string {
  const groups = [...new Set(SETTINGS.map(({ info }) => info.group))];
  return `Serve a model through an OpenAI-compatible API.

Usage
  canopy serve [MODEL] [options]

${groups.map(groupHelp).join("\n")}
Other
  -h, --help
${wrap("This text")}
  -v, --version
${wrap("The version")}

Each option can also be set by the environment variable in brackets; an option wins over its variable.
Options that take several values are repeated, or take them with commas between.

Examples
  canopy serve sapling-14m --drafter none
  canopy serve ./model.gguf --host 0.0.0.0 --api-key-file keys.txt
  CANOPY_PORT=8000 canopy serve
`;
}

function groupHelp(group: SettingInfo["group"]): string {
  const settings = SETTINGS.filter(({ info }) => info.group === group);
  return `${group}\n${settings.map(settingHelp).join("\n")}\n`;
}

function settingHelp(setting: Setting): string {
  const { key, flag, env, valueText, isList, defaultText, info } = setting;
  const names =
    key === POSITIONAL ? `${valueText}, ${flag} ${valueText}` : `${flag} ${valueText}${isList ? " ..." : ""}`;
  const defaultNote = defaultText === undefined ? "" : ` (default: ${defaultText})`;
  return `  ${names}\n${wrap(`${info.description}${defaultNote} [${env}]`)}`;
}

function wrap(text: string): string {
  const lines: string[] = [];
  for (const word of text.split(" ")) {
    const last = lines.at(-1);
    if (last === undefined || INDENT + last.length + 1 + word.length > WIDTH) lines.push(word);
    else lines[lines.length - 1] = `${last} ${word}`;
  }
  return lines.map((line) => " ".repeat(INDENT) + line).join("\n");
}
