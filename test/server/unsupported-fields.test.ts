import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { post, startApp, stepsOf, type TestApp } from "../support/test-app.ts";

const COMPLETIONS = "/v1/completions";
const CHAT = "/v1/chat/completions";
const BODIES = {
  [COMPLETIONS]: { prompt: "a", max_tokens: 4 },
  [CHAT]: { messages: [{ role: "user", content: "hi" }], max_tokens: 4 },
} as const;
const BOTH = [COMPLETIONS, CHAT] as const;

/** A field, values that would change the answer, values that would not, and where. */
const FIELDS: readonly (readonly [string, readonly unknown[], readonly unknown[], readonly (keyof typeof BODIES)[]])[] =
  [
    ["tools", [[{ type: "function" }], "all"], [[]], BOTH],
    ["functions", [[{ name: "f" }]], [[]], BOTH],
    ["tool_choice", ["required", { type: "function" }], ["none", "auto"], BOTH],
    ["function_call", [{ name: "f" }], ["none", "auto"], BOTH],
    ["response_format", [{ type: "json_object" }, {}, "json"], [{ type: "text" }], BOTH],
    ["modalities", [["text", "audio"]], [["text"]], BOTH],
    ["echo", [true], [false], BOTH],
    ["suffix", ["z"], [""], BOTH],
    ["best_of", [2], [1], BOTH],
    ["top_logprobs", [1], [0], [COMPLETIONS]],
    ["max_completion_tokens", [5], [4], [COMPLETIONS]],
    ["guided_json", [{ type: "object" }, "{}"], [], BOTH],
    ["guided_regex", ["a+"], [], BOTH],
    ["guided_choice", [["a", "b"]], [], BOTH],
    ["guided_grammar", ["root ::= a"], [], BOTH],
    ["structural_tag", ["{}"], [], BOTH],
    ["structured_outputs", [{ regex: "a+" }], [{}], BOTH],
    ["bad_words", [["x"]], [[]], BOTH],
    ["allowed_token_ids", [[1]], [], BOTH],
    ["logits_processors", [["f"]], [[]], BOTH],
    ["use_beam_search", [true], [false], BOTH],
    ["include_stop_str_in_output", [true], [false], BOTH],
    ["skip_special_tokens", [false], [true], BOTH],
    ["truncate_prompt_tokens", [1, -1], [], BOTH],
    ["prompt_logprobs", [0, 3], [], BOTH],
    ["return_tokens_as_token_ids", [true], [false], BOTH],
    ["add_special_tokens", [false], [true], [COMPLETIONS]],
    ["add_special_tokens", [true], [false], [CHAT]],
    ["add_generation_prompt", [false], [true], BOTH],
    ["continue_final_message", [true], [false], BOTH],
    ["chat_template", ["{{ 1 }}"], [], BOTH],
    ["chat_template_kwargs", [{ enable_thinking: false }], [{}], BOTH],
    ["documents", [[{ text: "a" }]], [[]], BOTH],
    ["grammar", ["root ::= a"], [""], BOTH],
    ["json_schema", [{}, { type: "object" }], [], BOTH],
    ["repeat_penalty", [1.1], [1], BOTH],
    ["n_predict", [5, -1], [4], [COMPLETIONS]],
    ["n_predict", [5, 0], [4, -1], [CHAT]],
    ["t_max_predict_ms", [100], [0, -1], BOTH],
    ["n_indent", [2], [0], BOTH],
    ["n_probs", [2], [0], BOTH],
    ["min_keep", [2], [0], BOTH],
    ["mirostat", [1, 2], [0], BOTH],
    ["dynatemp_range", [0.5], [0], BOTH],
    ["xtc_probability", [0.5], [0], BOTH],
    ["top_n_sigma", [1], [0, -1], BOTH],
    ["tfs_z", [0.9], [1], BOTH],
    ["samplers", [["top_k"]], [], BOTH],
    ["lora", [[{ id: 0, scale: 1 }]], [[]], BOTH],
  ];
const CASES = FIELDS.flatMap(([field, changing, neutral, paths]) =>
  paths.map((path) => [field, path, changing, neutral] as const),
);

describe("fields that would change the answer but are not built", () => {
  let app: TestApp;
  beforeAll(async () => {
    app = await startApp({ answer: () => stepsOf("fine") });
  });
  afterAll(() => app.close());

  it.each(CASES)("%s of %s is refused, unless its value changes nothing", async (field, path, changing, neutral) => {
    for (const value of changing) {
      const answer = await post(app, path, { ...BODIES[path], [field]: value });
      expect([value, answer.status, answer.text]).toEqual([value, 400, expect.stringContaining(field)]);
      expect(JSON.parse(answer.text).error).toMatchObject({ code: "unsupported_parameter", param: field });
    }
    for (const value of [...neutral, null]) {
      const answer = await post(app, path, { ...BODIES[path], [field]: value });
      expect([value, answer.status, answer.text]).toEqual([value, 200, expect.any(String)]);
    }
  });
});
