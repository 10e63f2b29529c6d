import { isPlain } from "../../../scheduler/output.ts";
import type { DeviceTimes } from "./device-times.ts";
import type { HostTimes } from "./host-times.ts";
import type { SizeChoice } from "./size-choice.ts";
import type { ObservedStep } from "./tree-policy.ts";

/** Takes from each step what it tells of costs. */
export class StepCosts {
  readonly #plainOnDevice: boolean;
  readonly #host: HostTimes;
  /** Where steps draft and verify on the device. */
  readonly #device: DeviceTimes | undefined;
  /** Where trees are cut by what they bring. */
  readonly #sizes: SizeChoice | undefined;
  /** There was no steady step since the latest with a prompt. */
  #isAfterPrompt = false;

  constructor(plainOnDevice: boolean, host: HostTimes, device: DeviceTimes | undefined, sizes?: SizeChoice) {
    this.#plainOnDevice = plainOnDevice;
    this.#host = host;
    this.#device = device;
    this.#sizes = sizes;
  }

  /** @returns whether the step counts as one of those whose time its kind has a cost for */
  observe(step: ObservedStep): boolean {
    if (step.isSteady || step.hasPrompt) this.#isAfterPrompt = step.hasPrompt;
    const isStart = this.#isStart(step);
    const isSteady = step.isSteady || isStart;
    if (isSteady && !step.isLast && step.numSequences > 0) this.#learn(step, isStart);
    return isSteady;
  }

  /**
   * Whether a step drafts at the beginning of a run on the device, after a step with a prompt: what that takes is a cost of its
   * size. Runs that begin for other reasons are the policy's own doing.
   */
  #isStart({ numSequences, limits, onDevice, isSteady }: ObservedStep): boolean {
    return this.#isAfterPrompt && onDevice && !isSteady && numSequences > 0 && !isPlain(limits);
  }

  #learn(step: ObservedStep, isStart: boolean): void {
    const { numLanes, numRows, limits, onDevice, stepMs, draftMs, drafts } = step;
    if (isPlain(limits)) {
      if (onDevice === this.#plainOnDevice) (this.#device ?? this.#host).observePlain(numLanes, stepMs);
    } else if (this.#device) {
      const numNodes = Math.round(numRows / numLanes);
      const sharesRows = limits.mostLookaheadNodes !== undefined;
      const size = { numSequences: numLanes, numNodes, depth: limits.maxDraftDepth, sharesRows };
      // Where the drafter lacks blocks for all of them the step is the host's: then that is what such steps take.
      if (isStart) this.#device.observeStart(size, stepMs);
      else this.#device.observe(size, stepMs);
    } else {
      this.#sizes?.learnCut(step);
      this.#host.observeVerify(numRows, numLanes, stepMs - draftMs);
      if (drafts.length > 0) this.#host.observeDraft(numLanes, limits.maxDraftDepth, draftMs);
    }
  }
}
