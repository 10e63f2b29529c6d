import { Counter, collectDefaultMetrics, Gauge, Histogram, Registry } from "prom-client";
import type { EngineClient, EngineInfo, EngineMemory, FinishReason, StepStats, Supervision } from "../engine/client.ts";
import type { SpeculationState } from "../engine/speculative/budget/tree-policy.ts";
import { countDrafts } from "./draft-counts.ts";
import { type EngineLoad, readLoad } from "./engine-health.ts";

// Seconds. Steps take tens of milliseconds at most, so most buckets lie below 300 ms.
const STEP_BUCKETS = [0.0005, 0.001, 0.002, 0.005, 0.01, 0.02, 0.03, 0.05, 0.075, 0.1, 0.15, 0.2, 0.3, 0.5, 1, 2.5, 10];
const TOKEN_BUCKETS = [
  0.001, 0.002, 0.005, 0.01, 0.015, 0.02, 0.03, 0.04, 0.05, 0.075, 0.1, 0.15, 0.2, 0.3, 0.5, 1, 2.5, 10,
];
const FIRST_BUCKETS = [
  0.005, 0.01, 0.02, 0.04, 0.06, 0.08, 0.1, 0.15, 0.2, 0.25, 0.3, 0.5, 0.75, 1, 2.5, 5, 10, 30, 60,
];
const REQUEST_BUCKETS = [0.05, 0.1, 0.2, 0.3, 0.5, 0.8, 1, 1.5, 2, 2.5, 5, 10, 15, 20, 30, 60, 120, 300, 600];
const SIZE_BUCKETS = [1, 2, 5, 10, 20, 50, 100, 200, 500, 1000, 2000, 5000, 10_000, 20_000, 50_000, 100_000];
const ROW_BUCKETS = [1, 2, 4, 8, 16, 32, 64, 128, 256, 512, 1024, 2048, 4096];
const TREE_BUCKETS = [1, 2, 4, 6, 8, 12, 16, 24, 32, 48, 64, 96, 128];

/** Times of one finished sequence, in seconds, and its sizes in tokens. */
export interface FinishedSequence {
  readonly finishReason: FinishReason;
  readonly promptTokens: number;
  readonly generatedTokens: number;
  /** From the request's arrival to the last token. */
  readonly totalSeconds: number;
  /** From the first output to the last; with the tokens that came after the first output. */
  readonly decodeSeconds: number;
  readonly decodedTokens: number;
}

/** How a sequence came to its first output. */
export interface FirstOutput {
  /** From the request's arrival. */
  readonly totalSeconds: number;
  /** Of them, until its first step. */
  readonly queueSeconds: number;
  readonly promptTokens: number;
}

/**
 * The server's Prometheus collectors, named as vLLM names them under the prefix `canopy_`. Only this class touches them.
 * With speculation one step emits several tokens: inter-token latency is the time between the outputs of a sequence
 * (what a reader of the stream sees), time per output token is decode time over tokens.
 */
export class Metrics {
  readonly #registry = new Registry();
  readonly #drafter: string;
  readonly #stepSteps = this.#counter("engine_steps_total", "Engine steps.");
  readonly #promptTokens = this.#counter("prompt_tokens_total", "Prompt tokens of requests that were processed.");
  readonly #generationTokens = this.#counter("generation_tokens_total", "Tokens generated.");
  readonly #prefixQueries = this.#counter(
    "prefix_cache_queries_total",
    "Prompt tokens that were looked up in the prefix cache.",
  );
  readonly #prefixHits = this.#counter("prefix_cache_hits_total", "Prompt tokens that the prefix cache had.");
  readonly #preemptions = this.#counter("num_preemptions_total", "Sequences preempted to free KV blocks.");
  readonly #cancellations = this.#counter("sse_cancellations_total", "Streams whose client left before the end.");
  readonly #success = this.#counter("request_success_total", "Finished sequences.", ["finished_reason"]);
  readonly #drafts = this.#counter("spec_decode_num_drafts_total", "Drafts verified, one a sequence and step.");
  readonly #draftTokens = this.#counter("spec_decode_num_draft_tokens_total", "Draft tokens verified.");
  readonly #accepted = this.#counter("spec_decode_num_accepted_tokens_total", "Draft tokens accepted.");
  readonly #acceptedPerPos = this.#counter(
    "spec_decode_num_accepted_tokens_per_pos_total",
    "Draft tokens accepted, by their depth in the draft tree, the first being 0.",
    ["position"],
  );
  readonly #acceptedPerRank = this.#counter(
    "spec_decode_num_accepted_tokens_per_rank_total",
    "Draft tokens accepted, by their place among the children of their parent, the drafter's first choice being 0.",
    ["rank"],
  );
  readonly #draftPerProposer = this.#counter(
    "spec_decode_num_draft_tokens_per_proposer_total",
    "Draft tokens verified, by drafter. A token that several drafters proposed counts for each.",
    ["proposer"],
  );
  readonly #acceptedPerProposer = this.#counter(
    "spec_decode_num_accepted_tokens_per_proposer_total",
    "Draft tokens accepted, by drafter. A token that several drafters proposed counts for each.",
    ["proposer"],
  );
  #speculation: SpeculationState | undefined;
  readonly #firstToken = this.#histogram("time_to_first_token_seconds", "Arrival to first output.", FIRST_BUCKETS);
  readonly #interToken = this.#histogram(
    "inter_token_latency_seconds",
    "Between outputs of a sequence.",
    TOKEN_BUCKETS,
  );
  readonly #perToken = this.#histogram("request_time_per_output_token_seconds", "Decode time / tokens.", TOKEN_BUCKETS);
  readonly #endToEnd = this.#histogram("e2e_request_latency_seconds", "Arrival to last token.", REQUEST_BUCKETS);
  readonly #queueTime = this.#histogram("request_queue_time_seconds", "Arrival to first step.", FIRST_BUCKETS);
  readonly #prefillTime = this.#histogram("request_prefill_time_seconds", "First step to first output.", FIRST_BUCKETS);
  readonly #decodeTime = this.#histogram("request_decode_time_seconds", "First to last output.", REQUEST_BUCKETS);
  readonly #promptSize = this.#histogram("request_prompt_tokens", "Prompt tokens of a sequence.", SIZE_BUCKETS);
  readonly #outputSize = this.#histogram("request_generation_tokens", "Tokens generated by a sequence.", SIZE_BUCKETS);
  readonly #iteration = this.#histogram("iteration_tokens_total", "Rows of one engine step.", ROW_BUCKETS);
  readonly #treeSize = this.#histogram("tree_size", "Draft tokens of one verified tree.", TREE_BUCKETS);
  readonly #stepTimes = {
    draft: this.#histogram("step_draft_seconds", "Drafting in one step.", STEP_BUCKETS),
    verify: this.#histogram("step_verify_seconds", "Verification in one step.", STEP_BUCKETS),
    commit: this.#histogram("step_commit_seconds", "Commit in one step.", STEP_BUCKETS),
    total: this.#histogram("step_seconds", "One whole step.", STEP_BUCKETS),
  };

  constructor(client: EngineClient, modelName: string) {
    this.#drafter = client.info.drafter;
    client.onStep((stats) => this.#onStep(stats));
    this.#loadGauges(client);
    this.#speculationGauges();
    this.#memoryGauges(client);
    this.#supervisionCounters(client);
    this.#infoGauges(client.info, modelName);
  }

  /** Adds Node's own metrics (process_*, nodejs_*); once a process is enough. */
  includeProcessMetrics(): void {
    collectDefaultMetrics({ register: this.#registry });
  }

  get contentType(): string {
    return this.#registry.contentType;
  }

  /** The text of `/metrics`. */
  render(): Promise<string> {
    return this.#registry.metrics();
  }

  observeFirstOutput({ totalSeconds, queueSeconds, promptTokens }: FirstOutput): void {
    this.#firstToken.observe(totalSeconds);
    this.#queueTime.observe(queueSeconds);
    this.#prefillTime.observe(Math.max(0, totalSeconds - queueSeconds));
    this.#promptTokens.inc(promptTokens);
  }

  /** A later output came this long after the one before. */
  observeNextOutput(seconds: number): void {
    this.#interToken.observe(seconds);
  }

  observeFinished(sequence: FinishedSequence): void {
    this.#success.inc({ finished_reason: sequence.finishReason });
    this.#endToEnd.observe(sequence.totalSeconds);
    this.#decodeTime.observe(sequence.decodeSeconds);
    this.#promptSize.observe(sequence.promptTokens);
    this.#outputSize.observe(sequence.generatedTokens);
    if (sequence.decodedTokens > 0) this.#perToken.observe(sequence.decodeSeconds / sequence.decodedTokens);
  }

  countCancellation(): void {
    this.#cancellations.inc();
  }

  #onStep(stats: StepStats): void {
    this.#stepSteps.inc();
    this.#generationTokens.inc(stats.numEmittedTokens);
    this.#prefixQueries.inc(stats.numPrefixQueryTokens);
    this.#prefixHits.inc(stats.numPrefixHitTokens);
    this.#preemptions.inc(stats.numPreemptions);
    this.#iteration.observe(stats.numRows);
    this.#stepTimes.draft.observe(stats.draftMs / 1000);
    this.#stepTimes.verify.observe(stats.verifyMs / 1000);
    this.#stepTimes.commit.observe(stats.commitMs / 1000);
    this.#stepTimes.total.observe(stats.stepMs / 1000);
    this.#speculation = stats.speculation ?? this.#speculation;
    this.#countDrafts(stats);
  }

  #countDrafts({ sequences }: StepStats): void {
    const counts = countDrafts(sequences, this.#drafter);
    this.#drafts.inc(counts.numDrafts);
    this.#draftTokens.inc(counts.numDraftTokens);
    this.#accepted.inc(counts.numAccepted);
    for (const { numDraft } of sequences) if (numDraft > 0) this.#treeSize.observe(numDraft);
    for (const [position, count] of counts.byPosition.entries()) this.#acceptedPerPos.inc({ position }, count);
    for (const [rank, count] of counts.byRank.entries()) this.#acceptedPerRank.inc({ rank }, count);
    for (const [proposer, { numDrafted, numAccepted }] of counts.byProposer) {
      this.#draftPerProposer.inc({ proposer }, numDrafted);
      this.#acceptedPerProposer.inc({ proposer }, numAccepted);
    }
  }

  /** Read when they are asked for, not tracked. */
  #loadGauges(client: EngineClient): void {
    const gauge = (name: string, help: string, pick: (load: EngineLoad) => number) =>
      new Gauge({
        name: `canopy_${name}`,
        help,
        registers: [this.#registry],
        collect() {
          this.set(pick(readLoad(client).load));
        },
      });
    gauge("num_requests_running", "Sequences in the batch.", ({ numRunning }) => numRunning);
    gauge("num_requests_waiting", "Sequences waiting for their first step.", ({ numWaiting }) => numWaiting);
    gauge("kv_cache_usage_perc", "Share of KV blocks in use, 0 to 1.", ({ kvUsage }) => kvUsage);
  }

  /** Of the latest step that told of them, and read when they are asked for. */
  #speculationGauges(): void {
    const latest = () => this.#speculation;
    const registers = [this.#registry];
    const gauge = (name: string, help: string, pick: (state: SpeculationState) => number) =>
      new Gauge({
        name: `canopy_spec_decode_${name}`,
        help,
        registers,
        collect() {
          const state = latest();
          this.set(state ? pick(state) : 0);
        },
      });
    gauge(
      "calibration_error",
      "Mean distance of predicted survival of draft tokens from what is observed, 0 to 1.",
      ({ calibrationError }) => calibrationError,
    );
    gauge(
      "tree_limit",
      "Draft tokens that a tree of the next step may have; 0 while nothing is speculated.",
      ({ limits }) => limits.numLookaheadNodes,
    );
    new Gauge({
      name: "canopy_spec_decode_expected_tokens_per_second",
      help: "What the adaptive budget compared when it last decided: tokens/s of the whole batch, plain and with the best trees.",
      labelNames: ["way"],
      registers,
      collect() {
        for (const [way, rate] of Object.entries(latest()?.expected ?? {})) this.set({ way }, rate);
      },
    });
  }

  /** Of the engine's process; Node's own metrics are of the server's. */
  #memoryGauges(client: EngineClient): void {
    const gauge = (name: string, help: string, pick: (memory: EngineMemory) => number) =>
      new Gauge({
        name: `canopy_${name}`,
        help,
        registers: [this.#registry],
        collect() {
          this.set(client.memory ? pick(client.memory) : 0);
        },
      });
    gauge("engine_gpu_memory_bytes", "Buffers on the device, KV cache included.", ({ gpuBytes }) => gpuBytes);
    gauge("engine_gpu_buffers", "Number of buffers on the device.", ({ numGpuBuffers }) => numGpuBuffers);
    gauge("engine_heap_bytes", "JavaScript objects of the engine's process.", ({ heapBytes }) => heapBytes);
  }

  /** Counted by the client, and read when they are asked for. */
  #supervisionCounters(client: EngineClient): void {
    const counter = (name: string, help: string, pick: (supervision: Supervision) => number) =>
      new Counter({
        name: `canopy_${name}`,
        help,
        registers: [this.#registry],
        collect() {
          this.reset();
          this.inc(client.supervision ? pick(client.supervision) : 0);
        },
      });
    counter("engine_restarts_total", "Attempts to start a failed engine again.", ({ numRestarts }) => numRestarts);
    counter("device_lost_total", "Engines that lost their device.", ({ numDeviceLosses }) => numDeviceLosses);
    counter("engine_replays_total", "Sequences that went on in a new engine.", ({ numReplays }) => numReplays);
  }

  #infoGauges(info: EngineInfo, modelName: string): void {
    this.#info("cache_config_info", "KV cache.", {
      block_size: String(info.blockSize),
      num_gpu_blocks: String(info.numKvBlocks),
    });
    this.#info("model_info", "What is served.", {
      model_name: modelName,
      max_model_len: String(info.maxModelLen),
      drafter: info.drafter,
      fingerprint: info.fingerprint,
    });
    this.#info("adapter_info", "What it runs on.", { adapter: info.adapter, kind: info.adapterKind });
  }

  #info(name: string, help: string, labels: Readonly<Record<string, string>>): void {
    const options = { name: `canopy_${name}`, help, labelNames: Object.keys(labels), registers: [this.#registry] };
    new Gauge(options).set({ ...labels }, 1);
  }

  #counter<T extends string = never>(name: string, help: string, labelNames: readonly T[] = []): Counter<T> {
    return new Counter({ name: `canopy_${name}`, help, labelNames: [...labelNames], registers: [this.#registry] });
  }

  #histogram(name: string, help: string, buckets: number[]): Histogram {
    return new Histogram({ name: `canopy_${name}`, help, buckets, registers: [this.#registry] });
  }
}
