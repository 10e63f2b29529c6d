import { Worker } from "node:worker_threads";
import { afterAll, beforeAll, describe, expect, it, vi } from "vitest";
import { resolveModel } from "../../engine/model/bundled.ts";
import { openModel } from "../../engine/model/open.ts";
import type { TextAssets } from "../../engine/model/types.ts";
import { ModelText } from "../../engine/text/model-text.ts";
import { LocalTextService } from "../../server/text-service.ts";
import { ThreadedTextService } from "../../server/threaded-text-service.ts";

const THREAD = { module: new URL("../support/text-thread.mjs", import.meta.url) };
/** Loops for as long as it is let where a message says so. */
const TEMPLATE = `{% for m in messages %}{{ m.content }}{% if m.content == "endless" %}{% for i in range(100000) %}{% for j in range(100000) %}{% endfor %}{% endfor %}{% endif %}{% endfor %}`;

let assets: TextAssets;
let local: LocalTextService;
let text: ThreadedTextService;
beforeAll(() => {
  const model = openModel(resolveModel("sapling-14m"));
  model.weights.close();
  if (model.text === undefined) throw new Error("the bundled model has no tokenizer");
  assets = model.text;
  local = new LocalTextService(new ModelText(assets));
  text = new ThreadedTextService(assets, THREAD);
});
afterAll(() => text.close());

describe("text in a thread", () => {
  it("gives the ids that text in this thread gives, each job its own", async () => {
    const messages = [{ role: "user", content: "Tell me of a lamp." }];
    const found = await Promise.all([
      text.encodePrompt("Once upon a time"),
      text.encodeChat(messages),
      text.encodePrediction("a lamp"),
      text.tokensContaining("\n"),
    ]);
    expect(found).toEqual([
      await local.encodePrompt("Once upon a time"),
      await local.encodeChat(messages),
      await local.encodePrediction("a lamp"),
      await local.tokensContaining("\n"),
    ]);
  });

  it("leaves this thread free while it works on a long text", async () => {
    let isDone = false;
    const long = text.encodePrompt("a lamp in the dark ".repeat(20_000)).finally(() => {
      isDone = true;
    });
    let numTurns = 0;
    for (; !isDone; numTurns++) await new Promise((resolve) => setTimeout(resolve, 1));
    expect((await long).length).toBeGreaterThan(50_000);
    expect(numTurns).toBeGreaterThan(10);
  });

  it("refuses as text in this thread does: too long, or not for the template", async () => {
    await expect(text.encodePrompt("x".repeat(2 * 1024 * 1024 + 1))).rejects.toMatchObject({ code: "invalid_value" });
    const messages = [{ role: "nobody", content: "" }];
    await expect(text.encodeChat(messages)).rejects.toMatchObject({ code: "template_error", param: "messages" });
  });

  it("does not begin what nobody waits for any more, and waits for nobody to say so", async () => {
    await text.encodePrompt("the thread is up");
    const given = vi.spyOn(Worker.prototype, "postMessage");
    let isRead = false;
    const leave = new AbortController();
    const reason = new Error("left");
    const long = text.encodePrompt("a lamp in the dark ".repeat(20_000), leave.signal);
    const last = text.encodePrompt("Once upon a time").finally(() => {
      isRead = true;
    });
    const gone = text.encodePrompt("a lamp", leave.signal);
    const late = text.tokensContaining("a", AbortSignal.abort(reason));
    const left = [long, gone, late].map((job) => job.catch((error: unknown) => error));
    leave.abort(reason);
    expect(await Promise.all(left)).toEqual([reason, reason, reason]);
    expect(isRead).toBe(false);
    expect(await last).toEqual(await local.encodePrompt("Once upon a time"));
    expect(given.mock.calls.map(([{ text: one }]) => one.slice(0, 10))).toEqual(["a lamp in ", "Once upon "]);
    given.mockRestore();
  });
});

it("gives up a job that takes too long, and goes on with the next in another thread", async () => {
  const slow = new ThreadedTextService({ ...assets, chatTemplate: TEMPLATE }, { ...THREAD, deadlineMs: 1_500 });
  const message = (content: string) => [{ role: "user", content }];
  // The thread is up before the clock of the endless one runs.
  const first = await slow.encodeChat(message("a lamp")).catch((error: unknown) => error);
  const endless = slow.encodeChat(message("endless"));
  const next = slow.encodeChat(message("a lamp"));
  await expect(endless).rejects.toMatchObject({ code: "invalid_value", message: expect.stringContaining("1.5 s") });
  expect(await next).toEqual(first);
  const last = slow.encodeChat(message("endless"));
  await slow.close();
  await expect(last).rejects.toThrow("closed");
});
