import { referencePrompts } from "../prompts.ts";

/** One request of a client that behaves, leaves, or asks for what cannot be. */
export interface SoakRequest {
  readonly kind: string;
  readonly path: string;
  /** Sent as JSON, or as it is where it is text. */
  readonly body: object | string;
  /** The client leaves after so long. */
  readonly leaveAfterMs?: number;
  /** What the server is to answer with. */
  readonly status: number;
}

const CHAT = "/v1/chat/completions";
const COMPLETIONS = "/v1/completions";
const MAX_TOKENS = 32;

type Make = (pick: (count: number) => number) => Omit<SoakRequest, "kind">;

const prompts = referencePrompts().map(({ prompt }) => prompt);
const chat = (content: string, more: object = {}): object => ({
  ...{ messages: [{ role: "user", content }], max_tokens: MAX_TOKENS },
  ...more,
});
const prompt = (pick: (count: number) => number) => prompts[pick(prompts.length)] ?? "";
const answered = (body: object): Omit<SoakRequest, "kind"> => ({ path: CHAT, body, status: 200 });
const refused = (path: string, body: object | string): Omit<SoakRequest, "kind"> => ({ path, body, status: 400 });
/** Of one length, so that prompts share whole blocks. */
const LONG = "Please read this with care, then answer. ".repeat(8);

/** Each kind of request with how many of a hundred have it. */
const KINDS: Readonly<Record<string, readonly [weight: number, make: Make]>> = {
  "greedy stream": [20, (pick) => answered(chat(prompt(pick), { stream: true, temperature: 0 }))],
  "sampled stream": [
    15,
    (pick) => answered(chat(prompt(pick), { stream: true, temperature: 0.8, seed: pick(1000), logprobs: true })),
  ],
  whole: [12, (pick) => answered(chat(prompt(pick), { temperature: 0.7, presence_penalty: 0.5 }))],
  "several choices": [6, (pick) => answered(chat(prompt(pick), { stream: pick(2) === 0, n: 3, temperature: 1 }))],
  "shared prefix": [10, (pick) => answered(chat(`${LONG}${prompt(pick)}`, { stream: true, max_tokens: 8 }))],
  "long prompt": [2, (pick) => answered(chat(`${pick(1e6)} ${LONG.repeat(4)}`, { max_tokens: 4 }))],
  "plain completion": [8, (pick) => ({ ...answered({ prompt: prompt(pick), stop: ["."] }), path: COMPLETIONS })],
  "client that leaves": [
    15,
    (pick) => ({ ...answered(chat(prompt(pick), { stream: pick(4) > 0 })), leaveAfterMs: 1 + pick(3000) }),
  ],
  "broken JSON": [3, () => refused(CHAT, '{"messages": [')],
  "foreign token": [3, () => refused(COMPLETIONS, { prompt: [1, 999_999], max_tokens: 4 })],
  "too long": [3, () => refused(CHAT, chat(LONG.repeat(150)))],
  "bad field": [3, () => refused(CHAT, chat("hello", { temperature: -1 }))],
};

/** The next request of mixed traffic. @param random in [0, 1) */
export function nextRequest(random: () => number): SoakRequest {
  const pick = (count: number) => Math.floor(random() * count);
  let left = pick(Object.values(KINDS).reduce((sum, [weight]) => sum + weight, 0));
  for (const [kind, [weight, make]] of Object.entries(KINDS)) {
    if (left < weight) return { kind, ...make(pick) };
    left -= weight;
  }
  throw new Error("invariant: the weights add up");
}
