import type { BlockManager } from "../kvcache/block-manager.ts";
import { SchedulerError } from "../scheduler/errors.ts";
import type { CommittedSequence, ScheduledSequence, SchedulerOutput } from "../scheduler/output.ts";
import { Scheduler } from "../scheduler/scheduler.ts";
import type { EngineClient, EngineInfo, EngineOutput, EngineRequest, StepStats } from "./client.ts";
import { EngineDeadError, EngineRequestError } from "./errors.ts";
import { OutputStream } from "./output-stream.ts";
import type { ModelRunner } from "./runner/model-runner.ts";
import type { Proposer } from "./speculative/proposer.ts";
import { describe, type PlannedSequence, toBatch, type VerifiedSequence, verify } from "./step.ts";

export interface EngineParts {
  readonly info: EngineInfo;
  readonly runner: ModelRunner;
  readonly blocks: BlockManager;
  readonly proposer: Proposer;
  readonly tokenBudget: number;
  /** Nodes of one draft tree, root included; 1 with a proposer that never proposes. */
  readonly treeNodes: number;
  readonly treeDepth: number;
  /** Frees the device and everything on it. */
  readonly dispose: () => void;
}

interface Entry {
  readonly request: EngineRequest;
  readonly stream: OutputStream;
  readonly arrivalMs: number;
  /** Set by the sequence's first step. */
  queueMs?: number;
}

/** The engine in this process: one loop that schedules, proposes, verifies and commits, while there is work. */
export class Engine implements EngineClient {
  readonly info: EngineInfo;
  readonly #parts: EngineParts;
  readonly #scheduler: Scheduler;
  readonly #entries = new Map<string, Entry>();
  readonly #listeners = new Set<(stats: StepStats) => void>();
  #loop: Promise<void> | undefined;
  #deadReason: string | undefined;

  constructor(parts: EngineParts) {
    const { info, blocks, tokenBudget, treeNodes } = parts;
    this.info = info;
    this.#parts = parts;
    this.#scheduler = new Scheduler({
      ...{ blockManager: blocks, tokenBudget },
      ...{ maxNumSeqs: info.maxNumSeqs, maxModelLen: info.maxModelLen, maxTreeNodes: treeNodes },
    });
  }

  /** The sequence is queued before this returns: iterate the result, or abort `signal`. */
  generate(request: EngineRequest, signal?: AbortSignal): AsyncIterable<EngineOutput> {
    if (this.#deadReason !== undefined) throw new EngineDeadError(this.#deadReason);
    this.#enqueue(request);
    const stream = new OutputStream(() => this.#abort(request.id));
    this.#entries.set(request.id, { request, stream, arrivalMs: performance.now() });
    this.#parts.proposer.begin(request.id, request.promptTokenIds);
    if (signal?.aborted) this.#abort(request.id);
    else signal?.addEventListener("abort", () => this.#abort(request.id), { once: true });
    this.#loop ??= this.#run();
    return stream;
  }

  onStep(listener: (stats: StepStats) => void): () => void {
    this.#listeners.add(listener);
    return () => this.#listeners.delete(listener);
  }

  load() {
    if (this.#deadReason !== undefined) throw new EngineDeadError(this.#deadReason);
    return this.#loadNow();
  }

  #loadNow() {
    const { numWaiting, numRunning } = this.#scheduler;
    return { numWaiting, numRunning, kvUsage: this.#parts.blocks.usage };
  }

  /** Ends every sequence with "abort" and frees the device. */
  async close(): Promise<void> {
    if (this.#deadReason === undefined) {
      this.#deadReason = "the engine is closed";
      for (const id of [...this.#entries.keys()]) this.#abort(id);
    }
    await this.#loop;
    this.#parts.proposer.close();
    this.#parts.dispose();
  }

  /** @throws InvariantError when queues, block tables or reference counts disagree. */
  checkIntegrity(): void {
    this.#scheduler.checkIntegrity();
  }

  async #run(): Promise<void> {
    try {
      // Callers of the same turn get into the first step together.
      await Promise.resolve();
      while (this.#scheduler.hasWork()) await this.#step();
    } catch (error) {
      this.#die(error instanceof Error ? error.message : String(error));
    } finally {
      this.#loop = undefined;
    }
  }

  async #step(): Promise<void> {
    const startMs = performance.now();
    const output = this.#scheduler.schedule();
    if (output.sequences.length === 0) throw new Error("invariant: there is work, but nothing could be scheduled");
    const plan = await this.#propose(output);
    const draftedMs = performance.now();
    const { tokenIds } = await this.#parts.runner.run(plan.map(toBatch));
    const verifiedMs = performance.now();
    const verified = this.#settle(verify(plan, tokenIds));
    this.#parts.runner.kv.commit(verified.flatMap(({ moves }) => moves));
    const { sequences } = this.#scheduler.commit(
      output,
      verified.map(({ result }) => result),
    );
    for (const sequence of sequences) this.#emit(sequence, verified);
    const endMs = performance.now();
    const times = { draftMs: draftedMs - startMs, verifyMs: verifiedMs - draftedMs, commitMs: endMs - verifiedMs };
    this.#report(output, plan, verified, sequences, { ...times, stepMs: endMs - startMs });
  }

  /** Trees for the step's sequences. Those whose prompt is still being computed let the proposer catch up with it. */
  async #propose(output: SchedulerOutput): Promise<PlannedSequence[]> {
    const { proposer, blocks, treeDepth } = this.#parts;
    const entries = output.sequences.map((scheduled) => ({ scheduled, entry: this.#entryOf(scheduled) }));
    const nowMs = performance.now();
    for (const { entry } of entries) entry.queueMs ??= nowMs - entry.arrivalMs;
    const trees = await proposer.propose(
      entries.map(({ scheduled, entry: { request } }) => ({
        ...{ id: request.id, tokenIds: scheduled.sequence.tokenIds, choice: request.choice, params: request.params },
        maxNodes: 1 + scheduled.numLookaheadNodes,
        maxDepth: Math.min(treeDepth, scheduled.maxDraftDepth),
      })),
    );
    return entries.flatMap(({ scheduled, entry: { request } }, i) => {
      const tree = trees[i];
      if (tree === undefined) throw new Error(`invariant: ${proposer.name} gave no tree for ${request.id}`);
      const blockTable = blocks.blockTable(request.id);
      return [{ scheduled, params: request.params, choice: request.choice, blockTable, tree }];
    });
  }

  /** Ends sequences whose logits were not numbers, and those alone. */
  #settle(verified: VerifiedSequence[]): VerifiedSequence[] {
    return verified.filter(({ failed, result: { id } }) => {
      if (failed) {
        this.#scheduler.abort(id);
        this.#end(id, { ...NOTHING, finishReason: "error", error: "the model gave logits that are not numbers" });
      }
      return !failed;
    });
  }

  #emit(committed: CommittedSequence, verified: readonly VerifiedSequence[]): void {
    const { id, emittedTokenIds: tokenIds, numAccepted, finishReason } = committed;
    const tree = verified.find(({ result }) => result.id === id)?.planned.tree;
    const { queueMs } = this.#entries.get(id) ?? {};
    const output = {
      ...{ tokenIds, numAccepted, numDraft: (tree?.tokenIds.length ?? 1) - 1 },
      ...(queueMs === undefined ? {} : { queueMs }),
    };
    if (finishReason !== undefined) {
      this.#end(id, { ...output, finishReason });
    } else {
      this.#parts.proposer.observe(id, tokenIds);
      this.#entries.get(id)?.stream.push(output);
    }
  }

  #abort(id: string): void {
    if (!this.#entries.has(id)) return;
    this.#scheduler.abort(id);
    this.#end(id, { ...NOTHING, finishReason: "abort" });
  }

  #end(id: string, output: EngineOutput): void {
    const entry = this.#entries.get(id);
    if (entry === undefined) return;
    this.#entries.delete(id);
    this.#parts.proposer.end(id);
    entry.stream.push(output);
  }

  #die(reason: string): void {
    this.#deadReason = reason;
    for (const id of [...this.#entries.keys()]) this.#end(id, { ...NOTHING, finishReason: "error", error: reason });
  }

  #enqueue({ id, promptTokenIds, params }: EngineRequest): void {
    const { vocabSize } = this.info;
    const foreign = promptTokenIds.find((token) => !Number.isInteger(token) || token < 0 || token >= vocabSize);
    if (foreign !== undefined) {
      const message = `token id ${foreign} is not in the vocabulary: ids go from 0 to ${vocabSize - 1}`;
      throw new EngineRequestError("invalid_token_id", message);
    }
    try {
      this.#scheduler.add({ id, promptTokenIds, maxTokens: params.maxTokens, stopTokenIds: params.stopTokenIds });
    } catch (error) {
      if (error instanceof SchedulerError) throw new EngineRequestError(error.code, error.message);
      throw error;
    }
  }

  #entryOf({ sequence: { id } }: ScheduledSequence): Entry {
    const entry = this.#entries.get(id);
    if (entry === undefined) throw new Error(`invariant: scheduled sequence ${id} is unknown to the engine`);
    return entry;
  }

  #report(
    output: SchedulerOutput,
    plan: readonly PlannedSequence[],
    verified: readonly VerifiedSequence[],
    committed: readonly CommittedSequence[],
    times: Pick<StepStats, "draftMs" | "verifyMs" | "commitMs" | "stepMs">,
  ): void {
    if (this.#listeners.size === 0) return;
    const numDraft = plan.reduce((sum, { tree }) => sum + tree.tokenIds.length - 1, 0);
    const stats: StepStats = {
      ...this.#loadNow(),
      ...times,
      ...(this.#parts.runner.profile ? { pass: this.#parts.runner.profile } : {}),
      numPrefillTokens: plan.reduce((sum, { scheduled }) => sum + numPromptRows(scheduled), 0),
      numRows: output.numTokens + numDraft,
      numEmittedTokens: committed.reduce((sum, { emittedTokenIds }) => sum + emittedTokenIds.length, 0),
      numPreemptions: output.preemptedIds.length,
      sequences: verified.map(describe),
    };
    for (const listener of this.#listeners) listener(stats);
  }
}

function numPromptRows({ sequence, startPosition, numTokens }: ScheduledSequence): number {
  return Math.max(0, Math.min(startPosition + numTokens, sequence.numPromptTokens) - startPosition);
}

const NOTHING = { tokenIds: [], numAccepted: 0, numDraft: 0 } as const;
