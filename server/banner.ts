import type { EngineInfo } from "../engine/client.ts";
import type { Config } from "./config.ts";
import { VERSION } from "./version.ts";

/** What the banner tells; the same facts go into the log where no person looks. */
export interface BannerFacts {
  readonly info: EngineInfo;
  readonly config: Config;
  /** First name that requests may use. */
  readonly modelName: string;
  /** Where the server can be reached from this machine, without a slash at the end. */
  readonly url: string;
  /** The model has a chat template. */
  readonly hasChat: boolean;
}

export const SOFTWARE_WARNING =
  "no GPU: this runs on a software adapter, with the same text but many times slower. " +
  "A GPU needs its Vulkan driver; --adapter gpu says what is missing";

/** Address to reach a server that listens on `host`. */
export function urlOf(host: string, port: number): string {
  const isAny = host === "0.0.0.0" || host === "::";
  const name = isAny ? "127.0.0.1" : host.includes(":") ? `[${host}]` : host;
  return `http://${name}:${port}`;
}

/** The banner for a terminal. */
export function formatBanner(facts: BannerFacts, color: boolean): string {
  const { info, url } = facts;
  const paint = (code: string, text: string) => (color ? `\x1b[${code}m${text}\x1b[0m` : text);
  const rows = [
    ["Model", modelText(facts)],
    ["Adapter", info.adapter],
    ["Features", info.features.join(", ") || "none of the optional ones"],
    ["Drafter", drafterText(facts)],
    ["KV cache", `${info.numKvBlocks} blocks of ${info.blockSize} tokens, ${info.maxNumSeqs} sequences at once`],
    ["API", `${url}/v1`],
    ["Dashboard", `${url}/dashboard`],
  ].map(([name = "", value]) => `  ${paint("2", name.padEnd(10))} ${value}`);
  const warning = info.adapterKind === "software" ? [paint("1;33", `  WARNING    ${SOFTWARE_WARNING}`), ""] : [];
  return [
    "",
    `  ${paint("1;32", `Canopy ${VERSION}`)}`,
    "",
    ...rows,
    "",
    ...warning,
    `  ${curlLine(facts)}`,
    "",
    "",
  ].join("\n");
}

/** The banner for a log. */
export function bannerFields({ info, url, modelName }: BannerFacts): object {
  const { adapter, adapterKind, features, maxModelLen, drafter, drafterFigures, numKvBlocks, maxNumSeqs } = info;
  return {
    ...{ version: VERSION, url, dashboard: `${url}/dashboard`, model: modelName },
    ...{ adapter, adapterKind, features, maxModelLen, drafter, numKvBlocks, maxNumSeqs },
    ...(drafterFigures ? { drafterFigures } : {}),
  };
}

function modelText({ info, config, modelName }: BannerFacts): string {
  const why = config.maxModelLen === undefined ? "what it was made for" : "--max-model-len";
  return `${modelName}, context ${info.maxModelLen} tokens (${why})`;
}

function drafterText({ info, config }: BannerFacts): string {
  if (info.drafter === "none") return "none: speculation is off";
  const { tree, treeBudget, treeNodes, treeDepth } = config;
  const others = info.drafterFigures?.map((one) => `${one.drafter} ${one.tokensPerSecond.toPrecision(3)}`);
  const name = others ? `${info.drafter} (tokens/s when first tried: ${others.join(", ")})` : info.drafter;
  if (tree !== undefined) return `${name}, trees of shape ${tree}`;
  const budget = treeBudget === "adaptive" ? ", as large as pays" : "";
  return `${name}, trees of up to ${treeNodes} nodes, ${treeDepth} deep${budget}`;
}

function curlLine({ url, config, hasChat }: BannerFacts): string {
  const key = config.apiKey.length > 0 ? ' -H "Authorization: Bearer $KEY"' : "";
  const [path, body] = hasChat
    ? ["chat/completions", { messages: [{ role: "user", content: "Tell me a story." }] }]
    : ["completions", { prompt: "Once upon a time", max_tokens: 64 }];
  return `curl ${url}/v1/${path}${key} -H "Content-Type: application/json" -d '${JSON.stringify(body)}'`;
}
