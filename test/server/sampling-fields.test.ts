import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { GREEDY, type SamplingParams } from "../../engine/sampling-params.ts";
import { END_OF_TURN, post, startApp, stepsOf, TEXT, type TestApp } from "../support/test-app.ts";

const COMPLETIONS = "/v1/completions";
const CHAT = "/v1/chat/completions";
const messages = [{ role: "user", content: "hi" }];
const WORDS = "Once upon a time there was a little bird.";

let app: TestApp;
beforeAll(async () => {
  app = await startApp({ answer: () => stepsOf(WORDS) });
});
afterAll(() => app.close());

/** What the engine is asked for. */
async function paramsOf(body: object, path = COMPLETIONS): Promise<SamplingParams> {
  const answer = await post(app, path, { ...(path === CHAT ? { messages } : { prompt: "a" }), max_tokens: 4, ...body });
  expect(answer.status, answer.text).toBe(200);
  return app.engine.requests.at(-1)?.params ?? expect.fail();
}

describe("fields that say how to sample", () => {
  const breakers = ["\n", ":", '"', "*"].flatMap((text) => TEXT.tokensContaining(text));
  const dry = { multiplier: 0.8, base: 1.75, allowedLength: 2, breakers: expect.any(Array) };

  it.each<readonly [object, Partial<SamplingParams>]>([
    [{}, { ...GREEDY, temperature: 1, maxTokens: 4, seed: expect.any(Array), stopTokenIds: TEXT.endTokenIds }],
    [{ temperature: 0 }, { temperature: 0 }],
    [{ typical_p: 0.3 }, { typicalP: 0.3 }],
    [{ presence_penalty: -2 }, { presencePenalty: -2 }],
    [{ frequency_penalty: 2 }, { frequencyPenalty: 2 }],
    [{ repetition_penalty: 1.3 }, { repetitionPenalty: 1.3 }],
    [
      { logit_bias: { 5: -100, 4095: 100 } },
      {
        logitBias: [
          [5, -100],
          [4095, 100],
        ],
      },
    ],
    [{ logit_bias: { 5: 1, "05": 2 } }, { logitBias: [[5, 2]] }],
    [{ logit_bias: {} }, { logitBias: [] }],
    [{ stop_token_ids: [7, 8, 7] }, { stopTokenIds: [...TEXT.endTokenIds, 7, 8] }],
    [{ ignore_eos: true }, { stopTokenIds: [] }],
    [{ ignore_eos: true, stop_token_ids: [9] }, { stopTokenIds: [9] }],
    [{ min_tokens: 4 }, { minTokens: 4 }],
    [{ logprobs: 0 }, { logprobs: 0 }],
    [{ logprobs: 20 }, { logprobs: 20 }],
    [{ dry_multiplier: 0.8 }, { dry }],
    [
      { dry_multiplier: 1, dry_base: 2, dry_allowed_length: 3, dry_penalty_last_n: 64, dry_sequence_breakers: [] },
      { dry: { multiplier: 1, base: 2, allowedLength: 3, range: 64, breakers: [] } },
    ],
  ])("%j", async (body, expected) => {
    expect(await paramsOf(body)).toMatchObject(expected);
  });

  it.each([{}, { dry_multiplier: 0 }, { dry_multiplier: 2, dry_penalty_last_n: 0 }, { dry_base: 2 }])(
    "%j leaves DRY off, and log-probabilities",
    async (body) => {
      const params = await paramsOf(body);
      expect(params.dry).toBeUndefined();
      expect(params.logprobs).toBeUndefined();
    },
  );

  it("DRY's breakers are the tokens that contain them, llama.cpp's where none are given", async () => {
    const { dry: standard } = await paramsOf({ dry_multiplier: 1 });
    expect(new Set(standard?.breakers)).toEqual(new Set(breakers));
    const { dry: own } = await paramsOf({ dry_multiplier: 1, dry_sequence_breakers: ["bird"] });
    expect(own?.breakers.length).toBeGreaterThan(0);
    expect(own?.breakers.every((id) => TEXT.decodeToken(id).includes("bird"))).toBe(true);
  });

  it("chat asks for log-probabilities with two fields", async () => {
    expect((await paramsOf({ logprobs: true }, CHAT)).logprobs).toBe(0);
    expect((await paramsOf({ logprobs: true, top_logprobs: 5 }, CHAT)).logprobs).toBe(5);
    expect((await paramsOf({ logprobs: false, top_logprobs: 0 }, CHAT)).logprobs).toBeUndefined();
  });

  it("the model's own repetition penalty holds where the request has none", async () => {
    const generationDefaults = { repetitionPenalty: 1.05 };
    const other = await startApp(
      { answer: () => stepsOf(WORDS) },
      { model: { names: ["fake"], generationDefaults, created: 1 } },
    );
    await post(other, COMPLETIONS, { prompt: "a", max_tokens: 2 });
    await post(other, COMPLETIONS, { prompt: "a", max_tokens: 2, repetition_penalty: 1 });
    expect(other.engine.requests.map(({ params }) => params.repetitionPenalty)).toEqual([1.05, 1]);
    await other.close();
  });
});

describe("values out of range are refused, by name, value and limit", () => {
  const many = (count: number) => Object.fromEntries(Array.from({ length: count }, (_, i) => [i, 1]));

  it.each<readonly [object, string, RegExp]>([
    [{ typical_p: 0 }, "invalid_value", /typical_p: .*0; got 0/],
    [{ typical_p: 1.1 }, "invalid_value", /typical_p: .*1; got 1\.1/],
    [{ presence_penalty: 2.1 }, "invalid_value", /presence_penalty: .*2; got 2\.1/],
    [{ presence_penalty: -3 }, "invalid_value", /presence_penalty: .*-2; got -3/],
    [{ frequency_penalty: 9 }, "invalid_value", /frequency_penalty: .*2; got 9/],
    [{ frequency_penalty: "1" }, "invalid_value", /frequency_penalty.*"1"/],
    [{ repetition_penalty: 0 }, "invalid_value", /repetition_penalty: .*0\.01; got 0/],
    [{ repetition_penalty: 11 }, "invalid_value", /repetition_penalty: .*10; got 11/],
    [{ logit_bias: { 5: 101 } }, "invalid_value", /logit_bias\.5: .*100; got 101/],
    [{ logit_bias: { 5: -101 } }, "invalid_value", /logit_bias\.5: .*-100; got -101/],
    [{ logit_bias: { five: 1 } }, "invalid_value", /logit_bias\.five/],
    [{ logit_bias: { 4096: 1 } }, "invalid_token_id", /logit_bias: token id 4096.*4095/],
    [{ logit_bias: [1] }, "invalid_value", /logit_bias/],
    [{ logit_bias: many(1025) }, "invalid_value", /logit_bias: .*at most 1024/],
    [{ stop_token_ids: [4096] }, "invalid_token_id", /stop_token_ids: token id 4096.*4095/],
    [{ stop_token_ids: [-1] }, "invalid_value", /stop_token_ids\.0.*-1/],
    [{ stop_token_ids: Array(65).fill(1) }, "invalid_value", /stop_token_ids: .*64/],
    [{ ignore_eos: 1 }, "invalid_value", /ignore_eos.*1/],
    [{ min_tokens: -1 }, "invalid_value", /min_tokens: .*0; got -1/],
    [{ min_tokens: 5, max_tokens: 4 }, "invalid_value", /min_tokens is 5.* at most 4/],
    [{ min_tokens: 1.5 }, "invalid_value", /min_tokens.*1\.5/],
    [{ logprobs: 21 }, "invalid_value", /logprobs: .*20; got 21/],
    [{ logprobs: true }, "invalid_value", /logprobs.*true/],
    [{ dry_multiplier: -1 }, "invalid_value", /dry_multiplier: .*0; got -1/],
    [{ dry_base: 0.5 }, "invalid_value", /dry_base: .*1; got 0\.5/],
    [{ dry_allowed_length: 0 }, "invalid_value", /dry_allowed_length: .*1; got 0/],
    [{ dry_penalty_last_n: -2 }, "invalid_value", /dry_penalty_last_n: .*-1; got -2/],
    [{ dry_sequence_breakers: [""] }, "invalid_value", /dry_sequence_breakers\.0/],
    [{ dry_sequence_breakers: Array(17).fill("a") }, "invalid_value", /dry_sequence_breakers: .*16/],
    [{ dry_multiplier: 1, dry_sequence_breakers: ["no such token"] }, "invalid_value", /"no such token".*shorter/],
  ])("%j", async (body, code, message) => {
    const numRequests = app.engine.requests.length;
    const answer = await post(app, COMPLETIONS, { prompt: "a", max_tokens: 8, ...body });
    expect(answer.status, answer.text).toBe(400);
    const { error } = JSON.parse(answer.text);
    expect(error).toMatchObject({ code, type: "invalid_request_error" });
    expect(error.message).toMatch(message);
    expect(app.engine.requests).toHaveLength(numRequests);
  });

  it.each<readonly [object, RegExp]>([
    [{ logprobs: 5 }, /logprobs.*5/],
    [{ logprobs: true, top_logprobs: 21 }, /top_logprobs: .*20; got 21/],
    [{ top_logprobs: 2 }, /top_logprobs is 2, but logprobs is not true/],
  ])("%j in chat", async (body, message) => {
    const answer = await post(app, CHAT, { messages, max_tokens: 8, ...body });
    expect(answer.status, answer.text).toBe(400);
    expect(JSON.parse(answer.text).error.message).toMatch(message);
  });
});

/** Choices of all chunks of a stream. */
async function chunksOf(path: string, body: object): Promise<readonly { readonly [key: string]: unknown }[]> {
  const { text } = await post(app, path, { ...body, stream: true });
  const events = text.split("\n\n").filter((event) => event.startsWith("data: {"));
  return events.flatMap((event) => JSON.parse(event.slice(6)).choices);
}

describe("log-probabilities", () => {
  const ids = TEXT.encodePrompt(WORDS);
  const texts = ids.map((id) => TEXT.decodeToken(id));
  const entry = (tokenId: number) => {
    const token = TEXT.decodeToken(tokenId);
    return { token, logprob: -tokenId / 100, bytes: [...TEXT.tokenBytes(tokenId)] };
  };
  const content = ids.map((id) => ({ ...entry(id), top_logprobs: [entry(id), entry(id + 1)] }));
  const starts = texts.map((_, i) => texts.slice(0, i).join("").length);
  const columns = {
    text_offset: starts,
    token_logprobs: ids.map((id) => -id / 100),
    tokens: texts,
    top_logprobs: ids.map((id) => ({ [TEXT.decodeToken(id + 1)]: -(id + 1) / 100, [TEXT.decodeToken(id)]: -id / 100 })),
  };
  const chat = { messages, logprobs: true, top_logprobs: 2 };
  const completion = { prompt: "a", max_tokens: 50, logprobs: 2 };

  it("chat: token, bytes and best tokens, without the end of turn", async () => {
    const [choice] = JSON.parse((await post(app, CHAT, chat)).text).choices;
    expect(choice.logprobs).toEqual({ content, refusal: null });
    expect(content.map(({ bytes }) => Buffer.from(bytes).toString()).join("")).toMatch(/Once upon a time .* bird\.$/);
  });

  it("chat, streamed: each chunk has those of its text", async () => {
    const parts = (await chunksOf(CHAT, chat)) as readonly {
      readonly delta: { readonly content?: string };
      readonly logprobs: { readonly content: typeof content } | null;
    }[];
    expect(parts.flatMap(({ logprobs }) => logprobs?.content ?? [])).toEqual(content);
    expect([parts.at(0)?.logprobs, parts.at(-1)?.logprobs]).toEqual([null, null]);
    for (const { delta, logprobs } of parts.slice(1, -1)) {
      // The first token's leading space is not part of an answer.
      expect(logprobs?.content.map(({ token }) => token).join("")).toMatch(new RegExp(`^ ?${delta.content}$`));
    }
  });

  it("completions: four columns", async () => {
    const [choice] = JSON.parse((await post(app, COMPLETIONS, completion)).text).choices;
    expect(choice.logprobs).toEqual(columns);
    expect(choice.text).toBe(texts.join(""));
  });

  it("completions, streamed: the columns in parts, offsets into the whole text", async () => {
    const parts = (await chunksOf(COMPLETIONS, completion)).map(({ logprobs }) => logprobs as typeof columns | null);
    for (const name of ["text_offset", "token_logprobs", "tokens", "top_logprobs"] as const) {
      expect(parts.flatMap((part): unknown[] => part?.[name] ?? [])).toEqual(columns[name]);
    }
  });

  it("0 asks for those of the tokens alone", async () => {
    const [choice] = JSON.parse((await post(app, CHAT, { messages, logprobs: true })).text).choices;
    expect(choice.logprobs.content).toEqual(content.map((one) => ({ ...one, top_logprobs: [] })));
    const other = JSON.parse((await post(app, COMPLETIONS, { ...completion, logprobs: 0 })).text).choices[0];
    expect(other.logprobs.top_logprobs).toEqual(ids.map((id) => ({ [TEXT.decodeToken(id)]: -id / 100 })));
  });

  it("are cut with the text at a stop string, streamed or whole", async () => {
    const body = { ...completion, stop: " time" };
    const [choice] = JSON.parse((await post(app, COMPLETIONS, body)).text).choices;
    expect(choice.text).toBe(texts.join("").split(" time")[0]);
    const { tokens } = choice.logprobs;
    expect(tokens).toEqual(texts.slice(0, tokens.length));
    expect(choice.text.startsWith(tokens.slice(0, -1).join(""))).toBe(true);
    expect(tokens.join("").startsWith(choice.text)).toBe(true);
    const parts = (await chunksOf(COMPLETIONS, body)).map(({ logprobs }) => logprobs as typeof columns | null);
    expect(parts.flatMap((part) => part?.tokens ?? [])).toEqual(tokens);
  });
});

describe("when an answer ends", () => {
  const ids = TEXT.encodePrompt(WORDS);

  it("a stop token is not part of the text, but counts", async () => {
    const body = { prompt: "a", max_tokens: 50, stop_token_ids: [ids[4]] };
    const answer = JSON.parse((await post(app, COMPLETIONS, body)).text);
    expect(answer.choices[0].text).toBe(
      ids
        .slice(0, 4)
        .map((id) => TEXT.decodeToken(id))
        .join(""),
    );
    expect(answer.choices[0].finish_reason).toBe("stop");
    expect(answer.usage.completion_tokens).toBe(5);
  });

  it("stop strings are looked for after min_tokens", async () => {
    const twice = await startApp({ answer: () => stepsOf("one two one two one two") });
    const ask = async (more: object) =>
      JSON.parse((await post(twice, COMPLETIONS, { prompt: "a", max_tokens: 50, stop: "two", ...more })).text)
        .choices[0];
    const whole = TEXT.encodePrompt("one two one two one two").map((id) => TEXT.decodeToken(id));
    const numBefore = whole.findIndex((_, i) => whole.slice(0, i).join("").includes("two"));
    const [first, second] = [await ask({}), await ask({ min_tokens: numBefore })];
    expect(first.text).toBe(whole.join("").split("two")[0]);
    expect(second.text).toBe(whole.join("").split("two").slice(0, 2).join("two"));
    expect(second.finish_reason).toBe("stop");
    await twice.close();
  });

  it("ignore_eos goes on after an end of turn, which has no text", async () => {
    const steps = [...stepsOf("one two"), ...stepsOf("three four")];
    const on = await startApp({ answer: () => steps });
    const maxTokens = steps.flatMap(({ tokenIds }) => tokenIds).length;
    const body = { prompt: "a", max_tokens: maxTokens };
    const stopped = JSON.parse((await post(on, COMPLETIONS, body)).text);
    const whole = JSON.parse((await post(on, COMPLETIONS, { ...body, ignore_eos: true })).text);
    const end = steps.flatMap(({ tokenIds }) => tokenIds).indexOf(END_OF_TURN);
    expect([stopped.usage.completion_tokens, stopped.choices[0].finish_reason]).toEqual([end + 1, "stop"]);
    expect([whole.usage.completion_tokens, whole.choices[0].finish_reason]).toEqual([maxTokens, "length"]);
    expect(whole.choices[0].text.startsWith(stopped.choices[0].text)).toBe(true);
    expect(whole.choices[0].text).toContain("three four");
    await on.close();
  });
});
