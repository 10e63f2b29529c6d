import { ApiError } from "../errors.ts";

type Body = Readonly<Record<string, unknown>>;
/** Whether a field's value leaves the answer of a request as it would be without. */
type IsNeutral = (value: unknown, body: Body) => boolean;

/** OpenAI's. */
const OPENAI: Readonly<Record<string, IsNeutral>> = {
  top_logprobs: is(0),
  max_completion_tokens: isMaxTokens,
  response_format: (value) => typeof value === "object" && value !== null && "type" in value && value.type === "text",
  tools: isEmpty,
  functions: isEmpty,
  tool_choice: is("none", "auto"),
  function_call: is("none", "auto"),
  modalities: (value) => Array.isArray(value) && value.every((modality) => modality === "text"),
  echo: is(false),
  suffix: is(""),
  best_of: (value, body) => value === (body.n ?? 1),
};

/** vLLM's. */
const VLLM: Readonly<Record<string, IsNeutral>> = {
  guided_json: never,
  guided_regex: never,
  guided_choice: never,
  guided_grammar: never,
  structured_outputs: isEmpty,
  structural_tag: never,
  bad_words: isEmpty,
  allowed_token_ids: never,
  logits_processors: isEmpty,
  use_beam_search: is(false),
  include_stop_str_in_output: is(false),
  skip_special_tokens: is(true),
  truncate_prompt_tokens: never,
  prompt_logprobs: never,
  return_tokens_as_token_ids: is(false),
  // Templates spell the special tokens that they want, plain prompts get theirs.
  add_special_tokens: (value, body) => value === !isChat(body),
  add_generation_prompt: is(true),
  continue_final_message: is(false),
  chat_template: never,
  chat_template_kwargs: isEmpty,
  documents: isEmpty,
};

/** llama.cpp's. */
const LLAMA_CPP: Readonly<Record<string, IsNeutral>> = {
  repeat_penalty: is(1),
  grammar: is(""),
  json_schema: never,
  // No limit of its own is what a chat has; completions end after 16 tokens.
  n_predict: (value, body) => isMaxTokens(value, body) || (value === -1 && isChat(body)),
  t_max_predict_ms: isAtMostZero,
  n_indent: is(0),
  n_probs: is(0),
  min_keep: is(0),
  mirostat: is(0),
  dynatemp_range: is(0),
  xtc_probability: is(0),
  top_n_sigma: isAtMostZero,
  tfs_z: is(1),
  samplers: never,
  lora: isEmpty,
};

const UNSUPPORTED: ReadonlyMap<string, IsNeutral> = new Map(Object.entries({ ...OPENAI, ...VLLM, ...LLAMA_CPP }));

/**
 * Of a field that no schema knows: whether it is one that would change the answer, but holds the value that changes nothing.
 * @throws ApiError unsupported_parameter where it holds another
 */
export function isNeutralField(name: string, value: unknown, body: Body): boolean {
  const isNeutral = UNSUPPORTED.get(name);
  if (isNeutral === undefined) return false;
  if (isNeutral(value, body)) return true;
  const which = name === "best_of" ? "best_of other than n" : name;
  throw new ApiError("unsupported_parameter", `${which} is not supported by this server; leave it out`, {
    param: name,
  });
}

function is(...neutral: readonly unknown[]): IsNeutral {
  return (value) => neutral.includes(value);
}

/** But for null, of course. */
function never(): boolean {
  return false;
}

function isEmpty(value: unknown): boolean {
  return typeof value === "object" && value !== null && Object.keys(value).length === 0;
}

function isAtMostZero(value: unknown): boolean {
  return typeof value === "number" && value <= 0;
}

function isMaxTokens(value: unknown, body: Body): boolean {
  return value === body.max_tokens;
}

function isChat(body: Body): boolean {
  return "messages" in body;
}
