import { afterAll, beforeAll, describe, expect, it, vi } from "vitest";
import { referencePrompts } from "../../bench/prompts.ts";
import type { EngineClient, EngineOutput, EngineRequest, StepStats } from "../../engine/client.ts";
import type { EngineOptions } from "../../engine/engine-options.ts";
import { EngineDeadError, EngineRequestError } from "../../engine/errors.ts";
import { GREEDY } from "../../engine/sampling-params.ts";
import { generate } from "../support/collect.ts";

const prompts = referencePrompts().map(({ promptTokens }) => promptTokens);
const promptOf = (i: number) => prompts[i % prompts.length] ?? [];
const request = (id: string, promptTokenIds: readonly number[] = promptOf(0), maxTokens = 32) => ({
  ...{ id, choice: 0, promptTokenIds },
  params: { ...GREEDY, maxTokens },
});
const SAMPLED = { ...GREEDY, temperature: 0.8, frequencyPenalty: 0.5, seed: [5, 9], maxTokens: 24 } as const;

/** The small model as target: what these tests look at does not depend on how good it is. */
const OPTIONS = {
  model: "sapling-2m-draft",
  drafter: "suffix",
  adapter: "software",
  checkInvariants: true,
  maxModelLen: 256,
} as const satisfies EngineOptions;

/** What every `EngineClient` has to keep to, wherever its engine runs. */
export function describeClientContract(
  name: string,
  open: (options: EngineOptions) => Promise<{ readonly client: EngineClient }>,
): void {
  describe(`${name}: the contract of engine clients`, () => {
    let client: EngineClient;
    beforeAll(async () => {
      ({ client } = await open(OPTIONS));
    });
    afterAll(() => client.close());
    const expectIdle = () =>
      vi.waitFor(() => expect(client.load()).toEqual({ numRunning: 0, numWaiting: 0, kvUsage: 0 }), 10_000);

    it("refuses what it can never serve, naming value and limit", async () => {
      const code = (run: () => unknown) => {
        try {
          run();
        } catch (error) {
          if (error instanceof EngineRequestError) return `${error.code}: ${error.message}`;
        }
        return "nothing was refused";
      };
      expect(code(() => client.generate(request("a", [])))).toMatch(/^empty_prompt/);
      expect(code(() => client.generate(request("a", [1, 4096])))).toMatch(/^invalid_token_id: .*4096.*4095/);
      expect(code(() => client.generate(request("a", [1, -1])))).toMatch(/^invalid_token_id: .*-1/);
      const foreign = { ...request("a", [1]), outputTokenIds: [4097] };
      expect(code(() => client.generate(foreign))).toMatch(/^invalid_token_id: .*4097/);
      const half = { ...request("a", [1]), priority: 0.5 };
      expect(code(() => client.generate(half))).toMatch(/^invalid_priority: .*0\.5/);
      const loud = { ...request("a", [1]), params: { ...GREEDY, logprobs: 21 } };
      expect(code(() => client.generate(loud))).toMatch(/^invalid_sampling_params: .*21.* 20/);
      const long = new Array(256).fill(1);
      expect(code(() => client.generate(request("a", long)))).toMatch(/^context_length_exceeded: 256.*256/);
      await expectIdle();
    });

    it("tells what it holds, and holds no more on the device after a sequence than before", async () => {
      const told = () => vi.waitFor(() => client.memory ?? Promise.reject(new Error("nothing was told")), 10_000);
      const before = await told();
      expect(before.gpuBytes).toBeGreaterThan(1_000_000);
      expect(before.heapBytes).toBeGreaterThan(1_000_000);
      await generate(client, promptOf(0), { ...GREEDY, maxTokens: 2 });
      await expectIdle();
      const { gpuBytes, numGpuBuffers } = await told();
      expect([gpuBytes, numGpuBuffers]).toEqual([before.gpuBytes, before.numGpuBuffers]);
    });

    it("refuses an id that is in flight", async () => {
      const first = client.generate(request("twice"));
      expect(() => client.generate(request("twice"))).toThrow(EngineRequestError);
      for await (const output of first) expect(output.tokenIds.length).toBeGreaterThan(0);
    });

    it("counts in its statistics what it gives", async () => {
      const steps: StepStats[] = [];
      const stop = client.onStep((stats) => steps.push(stats));
      const run = await generate(client, promptOf(4), { ...GREEDY, maxTokens: 40 });
      const sum = (pick: (stats: StepStats) => number) => steps.reduce((total, stats) => total + pick(stats), 0);
      await vi.waitFor(() => expect(sum(({ numEmittedTokens }) => numEmittedTokens)).toBe(40));
      stop();
      expect(sum(({ numPrefillTokens }) => numPrefillTokens)).toBe(promptOf(4).length);
      const sequences = steps.flatMap((stats) => stats.sequences);
      expect(sequences.reduce((total, { numDraft }) => total + numDraft, 0)).toBe(run.numDraft);
      for (const { tree, numAccepted } of sequences) {
        if (tree) expect(tree.accepted.filter(Boolean)).toHaveLength(numAccepted + 1);
      }
      await generate(client, promptOf(4), { ...GREEDY, maxTokens: 4 });
      expect(sum(({ numEmittedTokens }) => numEmittedTokens)).toBe(40);
    });

    it("goes on behind tokens that were generated before as if it had generated them", async () => {
      const params = { ...SAMPLED, logprobs: 1 };
      const whole = await generate(client, promptOf(1), params);
      const known = 9;
      const outputTokenIds = whole.tokenIds.slice(0, known);
      const rest: EngineOutput[] = [];
      for await (const output of client.generate({ ...request("rest", promptOf(1)), params, outputTokenIds })) {
        rest.push(output);
      }
      expect(rest.flatMap(({ tokenIds }) => tokenIds)).toEqual(whole.tokenIds.slice(known));
      expect(rest.at(-1)?.finishReason).toBe("length");
      const logprobs = whole.outputs.flatMap((output) => output.logprobs ?? []);
      expect(rest.flatMap((output) => output.logprobs ?? [])).toEqual(logprobs.slice(known));
    });

    it("aborts by signal, before and after the first token, and when the reader leaves", async () => {
      const early = new AbortController();
      early.abort();
      const outputs: EngineOutput[] = [];
      for await (const output of client.generate(request("early"), early.signal)) outputs.push(output);
      expect(outputs).toEqual([{ tokenIds: [], numAccepted: 0, numDraft: 0, finishReason: "abort" }]);
      const late = new AbortController();
      let last: EngineOutput | undefined;
      for await (const output of client.generate(request("late", promptOf(5), 200), late.signal)) {
        late.abort();
        last = output;
      }
      expect(last?.finishReason).toBe("abort");
      for await (const _ of client.generate(request("left", promptOf(5), 200))) break;
      await expectIdle();
    });

    it("ends a sequence at its deadline, whether it waits or runs, and gives back what it holds", async () => {
      const read = async (id: string, more: Partial<EngineRequest>) => {
        const outputs: EngineOutput[] = [];
        for await (const output of client.generate({ ...request(id, promptOf(5), 200), ...more })) outputs.push(output);
        return outputs;
      };
      // Less than a step takes: over before the first one is planned or while it runs, and then its output says more.
      const running = await read("running", { timeoutMs: 0.5 });
      expect(running.at(-1)).toMatchObject({ tokenIds: [], numAccepted: 0, numDraft: 0, finishReason: "deadline" });
      expect(running.length).toBeLessThan(3);
      const leave = new AbortController();
      const others = Array.from({ length: client.info.maxNumSeqs }, async (_, i) => {
        for await (const _output of client.generate(request(`other-${i}`, promptOf(i), 200), leave.signal));
      });
      const waiting = await read("waiting", { timeoutMs: 20 });
      leave.abort();
      expect(waiting).toEqual([{ tokenIds: [], numAccepted: 0, numDraft: 0, finishReason: "deadline" }]);
      const inTime = await read("in-time", { timeoutMs: 3_600_000, params: { ...GREEDY, maxTokens: 3 } });
      expect(inTime.at(-1)?.finishReason).toBe("length");
      await Promise.all(others);
      await expectIdle();
    });
  });

  describe(`${name}: the end of an engine client`, () => {
    it("close ends streams with abort, and nothing is served afterwards", async () => {
      const { client } = await open(OPTIONS);
      const stream = client.generate(request("a", promptOf(0), 128));
      await client.close();
      const outputs: EngineOutput[] = [];
      for await (const output of stream) outputs.push(output);
      expect(outputs.at(-1)?.finishReason).toBe("abort");
      expect(() => client.generate(request("b", [1]))).toThrow(EngineDeadError);
      expect(() => client.load()).toThrow(EngineDeadError);
    });

    it("tells of a model that it cannot open as that", async () => {
      await expect(open({ ...OPTIONS, model: "/nowhere.gguf" })).rejects.toMatchObject({
        ...{ name: "ModelFileError", code: "not_found", file: '"/nowhere.gguf"' },
        message: expect.stringMatching(/^"\/nowhere\.gguf": neither/),
      });
    });
  });
}
