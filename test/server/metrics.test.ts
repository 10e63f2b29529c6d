import { describe, expect, it } from "vitest";
import type { EngineMemory, StepStats } from "../../engine/client.ts";
import { Metrics } from "../../server/metrics.ts";
import { FakeEngine } from "../support/fake-engine.ts";

const STEP: StepStats = {
  ...{ numRunning: 2, numWaiting: 1, kvUsage: 0.25, numPrefillTokens: 0, numRows: 12, numEmittedTokens: 4 },
  ...{ numPrefixQueryTokens: 30, numPrefixHitTokens: 16 },
  ...{ numPreemptions: 1, draftMs: 2, verifyMs: 20, commitMs: 1, stepMs: 24 },
  sequences: [
    {
      ...{ id: "a", numDraft: 4, numAccepted: 2 },
      // Root with children 1, 2, 3; node 4 under 2. Accepted: 2 (second choice), then 4 (first choice).
      tree: {
        tokenIds: [9, 10, 11, 12, 13],
        parents: [-1, 0, 0, 0, 2],
        accepted: [true, false, true, false, true],
        probs: [1, 0.5, 0.3, 0.1, 0.9],
        bonusTokenId: 14,
      },
    },
    { id: "b", numDraft: 0, numAccepted: 0 },
  ],
};

/** Value of the line that begins with `name`, labels included. */
function readValue(text: string, name: string): number {
  const line = text.split("\n").find((candidate) => candidate.startsWith(`canopy_${name} `));
  if (line === undefined) throw new Error(`no ${name} among the metrics`);
  return Number(line.split(" ").at(-1));
}

describe("metrics", () => {
  it("have the names that dashboards for vLLM look for, under our prefix", async () => {
    const metrics = new Metrics(new FakeEngine({ answer: () => [] }), "m");
    const names = [...(await metrics.render()).matchAll(/^# TYPE canopy_(\w+) (\w+)$/gm)].map(
      ([, name, kind]) => `${name} ${kind}`,
    );
    expect(names).toEqual(
      expect.arrayContaining([
        ...["num_requests_running gauge", "num_requests_waiting gauge", "kv_cache_usage_perc gauge"],
        ...["cache_config_info gauge", "prompt_tokens_total counter", "generation_tokens_total counter"],
        ...["prefix_cache_queries_total counter", "prefix_cache_hits_total counter"],
        ...["request_success_total counter", "num_preemptions_total counter", "sse_cancellations_total counter"],
        ...["spec_decode_num_drafts_total counter", "spec_decode_num_draft_tokens_total counter"],
        ...["spec_decode_num_accepted_tokens_total counter", "spec_decode_num_accepted_tokens_per_pos_total counter"],
        ...["time_to_first_token_seconds histogram", "inter_token_latency_seconds histogram"],
        ...["request_time_per_output_token_seconds histogram", "e2e_request_latency_seconds histogram"],
        ...["request_queue_time_seconds histogram", "request_prefill_time_seconds histogram"],
        ...["request_decode_time_seconds histogram", "request_prompt_tokens histogram"],
        ...["request_generation_tokens histogram", "iteration_tokens_total histogram", "tree_size histogram"],
        ...["step_draft_seconds histogram", "step_verify_seconds histogram", "step_commit_seconds histogram"],
      ]),
    );
    expect(new Set(names).size).toBe(names.length);
  });

  it("tell what the engine holds, once it has told", async () => {
    const engine = Object.assign(new FakeEngine({ answer: () => [] }), {
      memory: undefined as EngineMemory | undefined,
    });
    const metrics = new Metrics(engine, "m");
    expect(readValue(await metrics.render(), "engine_gpu_buffers")).toBe(0);
    engine.memory = { gpuBytes: 1024, numGpuBuffers: 3, heapBytes: 2048 };
    const text = await metrics.render();
    const names = ["engine_gpu_memory_bytes", "engine_gpu_buffers", "engine_heap_bytes"];
    expect(names.map((name) => readValue(text, name))).toEqual([1024, 3, 2048]);
  });

  it("count a step: tokens, drafts, acceptance by depth and by rank among siblings", async () => {
    const engine = new FakeEngine({ answer: () => [] });
    const metrics = new Metrics(engine, "m");
    engine.tell(STEP);
    engine.tell(STEP);
    const text = await metrics.render();
    const counted = [
      ["generation_tokens_total", 8],
      ["num_preemptions_total", 2],
      ["prefix_cache_queries_total", 60],
      ["prefix_cache_hits_total", 32],
      ["spec_decode_num_drafts_total", 2],
      ["spec_decode_num_draft_tokens_total", 8],
      ["spec_decode_num_accepted_tokens_total", 4],
      ['spec_decode_num_accepted_tokens_per_pos_total{position="0"}', 2],
      ['spec_decode_num_accepted_tokens_per_pos_total{position="1"}', 2],
      ['spec_decode_num_accepted_tokens_per_rank_total{rank="0"}', 2],
      ['spec_decode_num_accepted_tokens_per_rank_total{rank="1"}', 2],
      ["tree_size_sum", 8],
      ["tree_size_count", 2],
      ["step_verify_seconds_sum", 0.04],
      ["iteration_tokens_total_sum", 24],
    ] as const;
    expect(counted.map(([name]) => [name, readValue(text, name)])).toEqual(counted);
  });

  it("show what the adaptive budget estimates, once it does", async () => {
    const engine = new FakeEngine({ answer: () => [] });
    const metrics = new Metrics(engine, "m");
    const limits = { numLookaheadNodes: 5, maxDraftDepth: 3 };
    const expected = { plain: 50, trees: 120 };
    engine.tell({ ...STEP, speculation: { limits, calibrationError: 0.07, reliability: [], expected } });
    const text = await metrics.render();
    expect(readValue(text, "spec_decode_calibration_error")).toBe(0.07);
    expect(readValue(text, "spec_decode_tree_limit")).toBe(5);
    expect(readValue(text, 'spec_decode_expected_tokens_per_second{way="plain"}')).toBe(50);
    expect(readValue(text, 'spec_decode_expected_tokens_per_second{way="trees"}')).toBe(120);
  });

  it("credit every proposer of a node, or the one drafter there is", async () => {
    const engine = new FakeEngine({ answer: () => [] });
    const metrics = new Metrics(engine, "m");
    const [{ tree, ...sequence } = { id: "a", numDraft: 4, numAccepted: 2 }] = STEP.sequences;
    if (tree === undefined) expect.fail();
    const proposers = [[], ["draft"], ["draft", "suffix"], ["suffix"], ["suffix"]];
    engine.tell({ ...STEP, sequences: [{ ...sequence, tree: { ...tree, proposers } }] });
    const text = await metrics.render();
    const of = (name: string, proposer: string) =>
      readValue(text, `spec_decode_num_${name}_tokens_per_proposer_total{proposer="${proposer}"}`);
    expect([of("draft", "draft"), of("accepted", "draft")]).toEqual([2, 1]);
    expect([of("draft", "suffix"), of("accepted", "suffix")]).toEqual([3, 2]);
    engine.tell(STEP);
    const later = await metrics.render();
    const name = 'spec_decode_num_accepted_tokens_per_proposer_total{proposer="draft"}';
    expect(readValue(later, name)).toBe(3);
  });

  it("split the time to the first output into waiting and prefill", async () => {
    const metrics = new Metrics(new FakeEngine({ answer: () => [] }), "m");
    metrics.observeFirstOutput({ totalSeconds: 0.75, queueSeconds: 0.5, promptTokens: 10 });
    const text = await metrics.render();
    expect(readValue(text, "time_to_first_token_seconds_sum")).toBe(0.75);
    expect(readValue(text, "request_queue_time_seconds_sum")).toBe(0.5);
    expect(readValue(text, "request_prefill_time_seconds_sum")).toBe(0.25);
    expect(readValue(text, "prompt_tokens_total")).toBe(10);
  });
});
