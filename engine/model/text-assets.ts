import { existsSync } from "node:fs";
import { join } from "node:path";
import { z } from "zod";
import { checkSchema, isJsonObject, type JsonObject, MAX_TOKENIZER_BYTES, readJson, readText } from "./json.ts";
import type { TextAssets } from "./types.ts";

const tokenId = z.number().int().nonnegative();
const idsSchema = z.object({
  bos_token_id: z.union([tokenId, z.array(tokenId)]).nullish(),
  eos_token_id: z.union([tokenId, z.array(tokenId)]).nullish(),
});
/** A token by its spelling, alone or in transformers' record of it. */
const token = z.union([z.string(), z.object({ content: z.string() }).transform(({ content }) => content)]);
const tokenizerConfigSchema = z.object({
  tokenizer_class: z.string().nullish(),
  add_bos_token: z.boolean().nullish(),
  bos_token: token.nullish(),
  eos_token: token.nullish(),
  chat_template: z.union([z.string(), z.array(z.object({ name: z.string(), template: z.string() }))]).nullish(),
});
type TokenizerConfig = z.output<typeof tokenizerConfigSchema>;
/**
 * Tokenizer, chat template and control ids of a Hugging Face folder; undefined where it has no tokenizer.json.
 * @throws ModelFileError malformed naming the file and its field.
 */
export function textAssetsFromFolder(folder: string): TextAssets | undefined {
  const path = join(folder, "tokenizer.json");
  if (!existsSync(path)) return undefined;
  const tokenizerJson = readJson(path, MAX_TOKENIZER_BYTES);
  const config = readOptional(folder, "tokenizer_config.json", tokenizerConfigSchema);
  const generation = readOptional(folder, "generation_config.json", idsSchema);
  const model = readOptional(folder, "config.json", idsSchema);
  const idOf = (spelling: string | null | undefined) =>
    spelling == null ? undefined : findId(tokenizerJson, spelling);
  const bosTokenId = [idOf(config.bos_token), generation.bos_token_id, model.bos_token_id]
    .flat()
    .find((id) => id != null);
  // The lists differ in many a model: one has the end of a text, another that of a turn.
  const ends = [generation.eos_token_id, model.eos_token_id, idOf(config.eos_token)].flat().filter((id) => id != null);
  const chatTemplate = readChatTemplate(folder, config);
  return {
    tokenizerJson,
    ...(chatTemplate !== undefined && { chatTemplate }),
    ...(bosTokenId != null && { bosTokenId }),
    addBos: bosTokenId != null && putsBos(config, tokenizerJson),
    endTokenIds: [...new Set(ends)],
  };
}

function readOptional<T>(folder: string, name: string, schema: z.ZodType<T>): T {
  const path = join(folder, name);
  return checkSchema(schema, existsSync(path) ? readJson(path) : {}, path);
}

/** A file of its own, as newer folders have it, comes before the field. */
function readChatTemplate(folder: string, { chat_template: field }: TokenizerConfig): string | undefined {
  const path = join(folder, "chat_template.jinja");
  if (existsSync(path)) return readText(path);
  if (Array.isArray(field)) return field.find(({ name }) => name === "default")?.template;
  return field ?? undefined;
}

function findId(tokenizerJson: unknown, spelling: string): number | undefined {
  if (!isJsonObject(tokenizerJson)) return undefined;
  const { added_tokens: added, model } = tokenizerJson;
  const found = Array.isArray(added) ? added.find((entry) => isJsonObject(entry) && entry.content === spelling) : null;
  const vocab = isJsonObject(model) && isJsonObject(model.vocab) ? model.vocab : {};
  const id: unknown = found?.id ?? (Object.hasOwn(vocab, spelling) ? vocab[spelling] : undefined);
  return tokenId.safeParse(id).data;
}

/** The config's word, else what the post-processor does, else the habit of Llama's own tokenizer class. */
function putsBos(config: TokenizerConfig, tokenizerJson: unknown): boolean {
  if (config.add_bos_token != null) return config.add_bos_token;
  const processor = isJsonObject(tokenizerJson) ? tokenizerJson.post_processor : undefined;
  if (isJsonObject(processor)) return startsWithToken(processor, config.bos_token);
  return /^LlamaTokenizer(Fast)?$/.test(config.tokenizer_class ?? "");
}

function startsWithToken(processor: JsonObject, spelling: string | null | undefined): boolean {
  const steps = Array.isArray(processor.processors) ? processor.processors : [processor];
  return steps.some((step) => {
    const first: unknown = isJsonObject(step) && Array.isArray(step.single) ? step.single[0] : undefined;
    const special = isJsonObject(first) ? first.SpecialToken : undefined;
    return isJsonObject(special) && (spelling == null || special.id === spelling);
  });
}
