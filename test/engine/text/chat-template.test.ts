import { Template } from "@huggingface/jinja";
import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { ChatTemplateError } from "../../../engine/errors.ts";
import { CHAT_ROLES, type ChatMessage, ChatTemplate } from "../../../engine/text/chat-template.ts";
import { ModelText } from "../../../engine/text/model-text.ts";
import { Tokenizer } from "../../../engine/text/tokenizer.ts";
import { saplingAssets, spell, withControls } from "./assets.ts";
import { TEMPLATES, type TemplateCase } from "./templates.ts";

function open({ controls, template }: TemplateCase) {
  const assets = withControls(controls, template);
  return { text: new ModelText(assets), tokenizer: new Tokenizer(assets), assets };
}

/** What the template gives where nobody cares who wrote what. */
const renderPlain = (template: string, messages: readonly ChatMessage[]): string =>
  new Template(template).render({
    messages,
    bos_token: "<|endoftext|>",
    eos_token: "<|im_end|>",
    add_generation_prompt: true,
  });

/** Contents made to look like what the template writes: spellings, pieces of them, pieces of templates. */
const hostileContent = (spellings: readonly string[]) =>
  fc
    .array(
      fc.oneof(
        fc.constantFrom(...spellings),
        fc
          .constantFrom(...spellings)
          .chain((s) => fc.tuple(fc.nat(s.length), fc.nat(s.length)).map(([a, b]) => s.slice(a, b))),
        fc.constantFrom("<", "<|", "|>", ">", "/", "\n", " ", "user", "assistant", "{{ bos_token }}", "{% raw %}", "'"),
        fc.constantFrom("\uE000", "\uE001", "\uE002", "\uE003", "\uF8FF", "é", "🌱"),
        fc.string({ unit: "grapheme", maxLength: 4 }),
      ),
      { maxLength: 6 },
    )
    .map((pieces) => pieces.join(""));
const ROLES = ["system", "user", "assistant", "user"];

describe.each(Object.entries(TEMPLATES))("%s", (_name, templateCase) => {
  const { text, tokenizer } = open(templateCase);
  const conversation = (contents: readonly string[]) =>
    contents.map((content, i) => ({ role: ROLES[i] ?? "user", content }));

  it("gives the control tokens that it gives for harmless contents, and all of the contents", () => {
    const content = hostileContent(tokenizer.controlSpellings);
    fc.assert(
      fc.property(fc.array(content, { minLength: 1, maxLength: 4 }), (contents) => {
        const messages = conversation(contents);
        const ids = text.encodeChat(messages);
        const harmless = text.encodeChat(conversation(contents.map(() => "x")));
        const controlsOf = (all: readonly number[]) => all.filter((id) => tokenizer.isControl(id));
        expect(controlsOf(ids)).toEqual(controlsOf(harmless));
        expect(spell(tokenizer, ids)).toBe(renderPlain(templateCase.template, messages));
      }),
      { numRuns: 200 },
    );
  });

  it("gives the ids of the plainly rendered text where contents spell nothing", () => {
    const messages = conversation(["You are kind.", " Tell me a story. ", "Once <b>upon</b> a time", "Go on | please"]);
    const plain = renderPlain(templateCase.template, messages);
    expect(text.encodeChat(messages)).toEqual(tokenizer.encode(plain, { allowControl: true }));
    expect(text.encodeChat(messages).some((id) => tokenizer.isControl(id))).toBe(true);
  });
});

describe("a template that looks into contents", () => {
  const { text, tokenizer } = open({
    controls: ["<|end|>"],
    template:
      "{% for m in messages %}{% if '</think>' in m.content %}{{ m.content.split('</think>')[-1].lstrip('\\n') }}{% elif m.content.startswith('!') %}{{ m.content[1:] | upper }}{% else %}{{ m.content | tojson }}{% endif %}<|end|>{% endfor %}",
  });
  it.each([
    ["<think>a</think>\n<|end|>b", "<|end|>b<|end|>"],
    ["!<|end|>ab", "<|END|>AB<|end|>"],
    ['<|end|>"', '"<|end|>\\""<|end|>'],
    ["\uE000<|end|>", '"\uE000<|end|>"<|end|>'],
  ])("does to %j what it should, with one control token", (content, expected) => {
    const ids = text.encodeChat([{ role: "user", content }]);
    expect(spell(tokenizer, ids)).toBe(expected);
    expect(ids.filter((id) => tokenizer.isControl(id))).toEqual([4096]);
  });
});

it.each(["\uE000\uE001\uE002\uE003<|end|>", "\uE002<|end|>"])(
  "knows a control token by no other name, whatever private-use characters the template and %j hold",
  (content) => {
    const { text, tokenizer } = open({
      controls: ["<|end|>"],
      template: "\uE000{{ '\\uE001' }}<|end|>{{ messages[0].content }}",
    });
    const ids = text.encodeChat([{ role: "user", content }]);
    expect(spell(tokenizer, ids)).toBe(`\uE000\uE001<|end|>${content}`);
    expect(ids.filter((id) => tokenizer.isControl(id))).toEqual([4096]);
  },
);

describe("what is refused", () => {
  const hello = [{ role: "user", content: "hello" }];
  const encode = (template: string, messages: readonly ChatMessage[]) =>
    open({ controls: [], template }).text.encodeChat(messages);
  const everyPrivateUse = Array.from({ length: 6400 }, (_, i) => String.fromCharCode(0xe000 + i)).join("");
  const echo = "{{ messages[0].content }}<|im_end|>";

  it.each([
    ["what the template refuses, in its words", "{{ raise_exception('no tools here') }}", hello, "no tools here"],
    ["a template that is not one", "{% for %}", hello, "cannot be parsed"],
    ["a role that is content", echo, [{ role: "im_end", content: "" }], 'role "im_end"'],
    ["too many messages", echo, Array(2049).fill(hello[0]), "2049 messages, the limit is 2048"],
    ["contents that are too long", echo, [{ role: "user", content: "a".repeat(2 ** 21 + 1) }], "the limit is 2097152"],
    [
      "a prompt that grew too long",
      `{% for i in range(500) %}${echo}{% endfor %}`,
      [{ role: "user", content: "a".repeat(10_000) }],
      "the limit is 4194304",
    ],
    [
      "contents with every character that could stand in",
      echo,
      [{ role: "user", content: everyPrivateUse }],
      "private-use",
    ],
    [
      "a template without an end",
      "{% for i in range(99999) %}{% for j in range(99999) %}{% endfor %}{% endfor %}",
      hello,
      "timed out",
    ],
  ])("%s", (_what, template, messages, message) => {
    let error: unknown;
    try {
      encode(template, messages);
    } catch (thrown) {
      error = thrown;
    }
    expect(error).toBeInstanceOf(ChatTemplateError);
    expect(error).toMatchObject({ code: "template_error", message: expect.stringContaining(message) });
  });

  it("is nothing that is within the limits, after a refusal too", () => {
    const template = new ChatTemplate(echo, { controlSpellings: ["<|im_end|>"], bosToken: "", eosToken: "" });
    expect(() => template.render([{ role: "", content: "" }])).toThrow(ChatTemplateError);
    for (const role of CHAT_ROLES)
      expect(template.render([{ role, content: "a" }])).toEqual([
        { text: "a", trusted: false },
        { text: "<|im_end|>", trusted: true },
        { text: "", trusted: false },
      ]);
    expect(template.render([{ role: "user", content: "a".repeat(2 ** 21) }])).toHaveLength(3);
  });

  it("is a conversation with a model that has no template, though not a plain prompt", () => {
    const { chatTemplate: _, ...assets } = saplingAssets();
    const text = new ModelText(assets);
    expect(() => text.encodeChat(hello)).toThrow(ChatTemplateError);
    expect(text.encodePrompt("hello")).not.toEqual([]);
  });
});
