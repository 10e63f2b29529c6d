import { parse, Template, tokenize } from "@huggingface/jinja";
import { ChatTemplateError } from "../errors.ts";
import { runBounded } from "./bounded-run.ts";
import { type PromptPart, spellingPattern } from "./control-tokens.ts";
import { anyOf, CharacterSwap, unusedCharacters } from "./private-characters.ts";

/** One message of a conversation. */
export interface ChatMessage {
  /** One of CHAT_ROLES. */
  readonly role: string;
  readonly content: string;
}

/** What a template may know of its model. */
export interface ChatTemplateOptions {
  readonly controlSpellings: readonly string[];
  /** Spelling of the token that begins a text; "" where there is none. */
  readonly bosToken: string;
  /** Spelling of the token that ends a turn; "" where there is none. */
  readonly eosToken: string;
}

/**
 * Roles are names, not content: templates build control tokens from them (`'<|' + role + '|>'`), so no others are let in.
 */
export const CHAT_ROLES: readonly string[] = ["system", "developer", "user", "assistant", "tool", "function"];

const MAX_MESSAGES = 2048;
/** UTF-16 units of all messages, or of all prompts, of one request: what is done with them takes time that grows with them. */
export const MAX_TEXT_LENGTH = 1 << 21;
/** With what the template adds. */
const MAX_RENDERED_LENGTH = 2 * MAX_TEXT_LENGTH;
const RENDER_TIMEOUT_MS = 2000;

/**
 * A model's chat template, rendered so that only the template can write a control token.
 *
 * - In the template's own words (its text, its string literals, bos_token and eos_token) every spelling of a control
 *   token is replaced by a *stand-in*, one private-use character, before the template is parsed. In the rendered text
 *   a stand-in is a control token and all else is plain text, so what the template does with a content (trim it, cut
 *   it, look into it) does not matter. Contents that hold a stand-in's character have it swapped for an unused one.
 * - Some templates build control tokens from pieces (`'<|' + role + '|>'`). So where a control token is still spelled
 *   out in the rendered text, the template is rendered again with all characters of such spellings swapped in the
 *   contents: the spellings that remain have nothing of a content in them and are the template's. For such templates
 *   contents are opaque but for white space. Where none remains, the first rendering holds.
 */
export class ChatTemplate {
  readonly #template: Template;
  /** All that the template says or compares with, in its own words. */
  readonly #words: string;
  readonly #variables: Readonly<Record<string, unknown>>;
  readonly #spellingByStandIn = new Map<string, string>();
  readonly #spelling: RegExp | undefined;
  /** UTF-16 units of control tokens, white space aside: templates trim. */
  readonly #spellingCharacters: ReadonlySet<string>;

  /** @throws ChatTemplateError when the template cannot be parsed. */
  constructor(source: string, { controlSpellings, bosToken, eosToken }: ChatTemplateOptions) {
    this.#spelling = spellingPattern(controlSpellings);
    this.#spellingCharacters = new Set(controlSpellings.join("").replace(/\s/g, "").split(""));
    try {
      const tokens = tokenize(source, { lstrip_blocks: true, trim_blocks: true });
      const words = tokens.filter(({ type }) => type === "Text" || type === "StringLiteral");
      this.#words = words.map(({ value }) => value).join("");
      const toStandIns = this.#makeToStandIns();
      for (const word of words) word.value = toStandIns(word.value);
      this.#template = new Template("");
      this.#template.parsed = parse(tokens);
      this.#variables = {
        bos_token: toStandIns(bosToken),
        eos_token: toStandIns(eosToken),
        add_generation_prompt: true,
      };
    } catch (cause) {
      throw new ChatTemplateError(`the model's chat template cannot be parsed: ${messageOf(cause)}`);
    }
  }

  /**
   * The prompt that ends where the assistant's answer begins; its control tokens are the trusted parts.
   * @throws ChatTemplateError
   */
  render(messages: readonly ChatMessage[]): PromptPart[] {
    checkMessages(messages);
    try {
      return this.#render(messages);
    } catch (cause) {
      throw new ChatTemplateError(`the model's chat template failed on these messages: ${messageOf(cause)}`);
    }
  }

  #render(messages: readonly ChatMessage[]): PromptPart[] {
    const standIns = [...this.#spellingByStandIn.keys()];
    const texts = [this.#words, standIns.join(""), ...messages.map(({ content }) => content)];
    const standIn = anyOf(standIns);

    const seen = new CharacterSwap(standIns, texts);
    const text = this.#renderSwapped(messages, seen);
    if (this.#spelling && text.search(this.#spelling) >= 0) {
      const opaque = new CharacterSwap([...standIns, ...this.#spellingCharacters], texts);
      const opaqueText = this.#renderSwapped(messages, opaque);
      if (opaqueText.search(this.#spelling) >= 0) {
        const both = standIn ? new RegExp(`${standIn.source}|${this.#spelling.source}`, "g") : this.#spelling;
        return this.#cut(opaqueText, both, opaque);
      }
    }
    return this.#cut(text, standIn, seen);
  }

  #renderSwapped(messages: readonly ChatMessage[], contents: CharacterSwap): string {
    const swapped = messages.map(({ role, content }) => ({ role, content: contents.swap(content) }));
    const text = runBounded(() => this.#template.render({ ...this.#variables, messages: swapped }), RENDER_TIMEOUT_MS);
    if (text.length > MAX_RENDERED_LENGTH)
      throw new RangeError(`the prompt has ${text.length} characters, the limit is ${MAX_RENDERED_LENGTH}`);
    return text;
  }

  /** Cuts a rendered text at the template's control tokens. */
  #cut(text: string, control: RegExp | undefined, contents: CharacterSwap): PromptPart[] {
    const parts: PromptPart[] = [];
    let end = 0;
    for (const match of control ? text.matchAll(control) : []) {
      parts.push({ text: contents.restore(text.slice(end, match.index)), trusted: false });
      parts.push({ text: this.#spellingByStandIn.get(match[0]) ?? match[0], trusted: true });
      end = match.index + match[0].length;
    }
    parts.push({ text: contents.restore(text.slice(end)), trusted: false });
    return parts;
  }

  /** The function that replaces spellings in the template's words; a spelling gets its stand-in when it first comes up. */
  #makeToStandIns(): (text: string) => string {
    const unused = unusedCharacters([this.#words]);
    const bySpelling = new Map<string, string>();
    const standInOf = (spelling: string): string => {
      const standIn = bySpelling.get(spelling) ?? unused();
      bySpelling.set(spelling, standIn);
      this.#spellingByStandIn.set(standIn, spelling);
      return standIn;
    };
    return (text) => (this.#spelling ? text.replace(this.#spelling, standInOf) : text);
  }
}

/** What a template costs is bounded by what it is given. */
function checkMessages(messages: readonly ChatMessage[]): void {
  if (messages.length > MAX_MESSAGES)
    throw new ChatTemplateError(`a conversation of ${messages.length} messages, the limit is ${MAX_MESSAGES}`);
  const length = messages.reduce((sum, { content }) => sum + content.length, 0);
  if (length > MAX_TEXT_LENGTH)
    throw new ChatTemplateError(`messages of ${length} characters together, the limit is ${MAX_TEXT_LENGTH}`);
  for (const { role } of messages)
    if (!CHAT_ROLES.includes(role))
      throw new ChatTemplateError(`role ${JSON.stringify(role.slice(0, 40))} is not one of ${CHAT_ROLES.join(", ")}`);
}

const messageOf = (cause: unknown): string => (cause instanceof Error ? cause.message : String(cause)).slice(0, 500);
