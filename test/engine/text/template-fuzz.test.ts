import { expect, test } from "vitest";
import { ChatTemplateError } from "../../../engine/errors.ts";
import { ChatTemplate } from "../../../engine/text/chat-template.ts";
import { fuzz, Outcomes } from "../../support/fuzz.ts";
import { mutateTemplate } from "../../support/mutations.ts";
import { Random } from "../../support/random.ts";
import { TEMPLATES } from "./templates.ts";

const MESSAGES = [
  { role: "system", content: "Be kind." },
  { role: "user", content: "Tell me of a <|lamp|>." },
];
const CONTROLS = ["<|im_start|>", "<|im_end|>", "<|user|>", "<|end|>"];

test("a damaged template is rendered or refused with a ChatTemplateError", async () => {
  const outcomes = new Outcomes();
  const numRounds = await fuzz(1500, (seed) => {
    const random = new Random(seed);
    const template = mutateTemplate(random.pick(Object.values(TEMPLATES)).template, random);
    try {
      const words = { controlSpellings: CONTROLS, bosToken: "<|im_start|>", eosToken: "<|im_end|>" };
      new ChatTemplate(template, words).render(MESSAGES);
      outcomes.add("rendered");
    } catch (error) {
      if (!(error instanceof ChatTemplateError)) throw error;
      outcomes.add("refused");
    }
  });
  console.log(`templates: ${numRounds} rounds: ${outcomes}`);
  for (const outcome of ["rendered", "refused"]) expect(outcomes.count(outcome)).toBeGreaterThan(numRounds / 50);
});
