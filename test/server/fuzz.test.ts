import { afterAll, beforeAll, expect, test } from "vitest";
import { fuzz, Outcomes } from "../support/fuzz.ts";
import { mutateJson } from "../support/mutations.ts";
import { Random } from "../support/random.ts";
import { startApp, stepsOf, type TestApp } from "../support/test-app.ts";

const COMMON = {
  ...{ model: "fake", max_tokens: 3, n: 2, stop: ["x"], seed: 7, stream: false, timeout: 60, priority: 1, user: "u" },
  ...{ temperature: 0.5, top_p: 0.9, top_k: 5, min_p: 0.1, frequency_penalty: 0.1, presence_penalty: 0.1 },
  ...{ logit_bias: { 5: 1 }, ignore_eos: true, min_tokens: 1, dry_multiplier: 0.5, stream_options: null },
  ...{ prediction: { type: "content", content: "a lamp" }, canopy: { pieces: false } },
};
const MESSAGES = [
  { role: "system", content: "Be kind." },
  { role: "user", content: [{ type: "text", text: "Tell me of a lamp." }] },
];
const BODIES = [
  ["/v1/chat/completions", { ...COMMON, messages: MESSAGES, logprobs: true, top_logprobs: 2 }],
  ["/v1/completions", { ...COMMON, prompt: ["Once", "upon a time"], logprobs: 2 }],
] as const;

let app: TestApp;
beforeAll(async () => {
  // More than the context holds, so that no request comes to its end.
  app = await startApp({ answer: () => stepsOf("a lamp in the dark ".repeat(100), 64) });
});
afterAll(() => app.close());

test.each(BODIES)("a damaged body of %s is served, or refused in the shape of every error", async (url, body) => {
  const whole = Buffer.from(JSON.stringify(body));
  const ask = (payload: Buffer) =>
    app.server.inject({ method: "POST", url, payload, headers: { "content-type": "application/json" } });
  expect((await ask(whole)).statusCode).toBe(200);
  const outcomes = new Outcomes();
  const numRounds = await fuzz(600, async (seed) => {
    app.engine.requests.length = 0;
    const { statusCode, payload } = await ask(mutateJson(whole, new Random(seed)));
    outcomes.add(String(statusCode));
    if (statusCode === 200) return;
    expect(statusCode).toBeGreaterThanOrEqual(400);
    expect(statusCode, payload).toBeLessThan(500);
    const { error } = JSON.parse(payload);
    expect(Object.keys(error).sort()).toEqual(["code", "message", "param", "type"]);
    expect(error.message).toMatch(/./);
    expect(app.engine.requests).toEqual([]);
  });
  console.log(`${url}: ${numRounds} rounds: ${outcomes}`);
  for (const outcome of ["200", "400"]) expect(outcomes.count(outcome), outcome).toBeGreaterThan(numRounds / 50);
});
