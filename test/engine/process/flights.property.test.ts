import fc from "fast-check";
import { expect, test } from "vitest";
import { OutputStream } from "../../../engine/output-stream.ts";
import { Flights, NUM_TRIAL_OUTPUTS } from "../../../engine/process/flights.ts";
import { GREEDY } from "../../../engine/sampling-params.ts";

interface Model {
  readonly emitted: number[];
  /** Whether the engine that runs has been sent it. */
  isSent: boolean;
  /** An engine dies of it after so many outputs: the one before got as far and did not tell. Infinite where it is no poison. */
  readonly numUnheard: number;
  numOutputsHere: number;
  /** It was in an engine that failed; so many outputs later it is suspect no more. */
  numTrialOutputs: number;
  /** Engines that died of it. */
  numKilled: number;
  readonly deadlineMs: number;
  /** Its reader has gone while an engine may have been at it. */
  isOver: boolean;
}

const requestOf = (id: number) => ({ id: String(id), choice: 0, promptTokenIds: [1], params: GREEDY });

test("flights: all are sent, none twice to one engine, each with all its tokens; a poisonous one kills two engines at most; deadlines are told once", () => {
  const timeoutMs = fc.oneof(fc.constant(Number.POSITIVE_INFINITY), fc.integer({ min: 0, max: 30 }));
  const numUnheard = fc.oneof(fc.constant(Number.POSITIVE_INFINITY), fc.nat(NUM_TRIAL_OUTPUTS - 1));
  const operation = fc.oneof(
    fc.record({ kind: fc.constant("add" as const), numUnheard, timeoutMs }),
    fc.record({ kind: fc.constantFrom("output" as const, "last" as const, "abort" as const), pick: fc.nat() }),
    fc.record({ kind: fc.constant("crash" as const) }),
  );
  fc.assert(
    fc.property(fc.array(operation, { maxLength: 120 }), (operations) => {
      const flights = new Flights();
      const models = new Map<number, Model>();
      const sent = () => [...models].filter(([, { isSent }]) => isSent);
      const heard = (model: Model) => {
        model.numOutputsHere++;
        model.numTrialOutputs = Math.max(0, model.numTrialOutputs - 1);
      };
      /** Nobody waits for it, and it is not on trial. */
      const isGone = ({ isOver, numTrialOutputs }: Model) => isOver && numTrialOutputs === 0;
      /** The engine is lost; what the flights then condemn is gone. */
      const crash = () => {
        const condemned = flights.lose();
        for (const [key, model] of models) {
          if (model.isSent) model.numTrialOutputs = condemned ? 0 : NUM_TRIAL_OUTPUTS;
          model.isSent = false;
          if (model.isOver) models.delete(key);
        }
        if (condemned) models.delete(condemned.key);
        return condemned;
      };
      /** Sends whatever may be sent. An engine dies of a poison a few outputs later, or before it has given anything for it. */
      const pump = () => {
        for (;;) {
          const next = flights.takeSendable();
          for (const { key, outputTokenIds } of next) {
            const model = models.get(key);
            expect(model?.isSent).toBe(false);
            expect(sent().filter(([, { numTrialOutputs }]) => numTrialOutputs > 0)).toEqual([]);
            expect(outputTokenIds).toEqual(model?.emitted);
            if (model) [model.isSent, model.numOutputsHere] = [true, 0];
          }
          const poisons = sent().filter(([, { numUnheard, numOutputsHere }]) => numOutputsHere >= numUnheard);
          if (poisons.length === 0) {
            if (next.length === 0) return;
            continue;
          }
          for (const [, model] of poisons) expect(++model.numKilled).toBeLessThanOrEqual(2);
          const condemned = crash();
          if (condemned) expect(poisons.map(([key]) => key)).toEqual([condemned.key]);
        }
      };
      /** What no engine has ends with its deadline; what one has stays until that says so, or fails. */
      const expire = (nowMs: number) => {
        const due = [...models].filter(([, { deadlineMs, isOver }]) => deadlineMs <= nowMs && !isOver);
        expect(flights.expire(nowMs).map(({ key }) => key)).toEqual(due.map(([key]) => key));
        for (const [key, model] of due) {
          model.isOver = true;
          if (!model.isSent) models.delete(key);
        }
      };
      for (const [step, one] of operations.entries()) {
        expire(step);
        const alive = sent();
        if (one.kind === "add") {
          const { numUnheard, timeoutMs } = one;
          const deadlineMs = step + timeoutMs;
          models.set(step, {
            emitted: [],
            isSent: false,
            numUnheard,
            numOutputsHere: 0,
            numTrialOutputs: 0,
            numKilled: 0,
            deadlineMs,
            isOver: false,
          });
          flights.add(step, requestOf(step), new OutputStream(() => {}), deadlineMs);
        } else if (one.kind === "crash") crash();
        else {
          const [key, model] = alive[one.pick % Math.max(1, alive.length)] ?? [];
          if (key === undefined || model === undefined) continue;
          if (one.kind === "abort") {
            expect(flights.abandon(key)?.key).toBe(model.isOver ? undefined : key);
            // One on trial stays, and no other is sent meanwhile.
            if (!model.isOver && model.numTrialOutputs === 0) models.delete(key);
            model.isOver = true;
          } else {
            const finished = one.kind === "last" ? ({ finishReason: "length" } as const) : {};
            model.emitted.push(step);
            heard(model);
            flights.receive(key, { tokenIds: [step], numAccepted: 0, numDraft: 0, ...finished });
          }
          if (one.kind === "last" || (one.kind === "output" && isGone(model))) models.delete(key);
        }
        pump();
        expect(flights.size).toBe(models.size);
      }
      // Each of those that are left gives an output at last: then all have been sent. Suspects go one by one, and once more
      // where those behind them kill the engine.
      const numRounds = 3 * NUM_TRIAL_OUTPUTS * (models.size + 1);
      for (let round = 0; round < numRounds; round++) {
        for (const [key, model] of sent()) {
          flights.receive(key, { tokenIds: [], numAccepted: 0, numDraft: 0 });
          heard(model);
          if (isGone(model)) models.delete(key);
        }
        pump();
      }
      expect(sent().length).toBe(models.size);
      expect(flights.areSome).toBe(models.size > 0);
    }),
    { numRuns: 500 },
  );
});
