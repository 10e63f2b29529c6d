import type { LaneResult } from "../../kernels/index.ts";
import type { Sequence } from "../../scheduler/sequence.ts";
import type { PassTimes } from "../runner/model-runner.ts";
import type { TokenLogprobs } from "../runner/token-logprobs.ts";
import type { SamplingParams } from "../sampling-params.ts";

export interface ResidentOptions {
  /** Sequences of a batch. */
  readonly maxLanes: number;
  /** Nodes of one draft tree, root included. */
  readonly treeNodes: number;
  readonly treeDepth: number;
  /** Trees have the shapes that runs are started with. */
  readonly isShaped: boolean;
  /** Steps that may be submitted before the first one's tokens are read. */
  readonly stepsInFlight: number;
  readonly profile: boolean;
}

/** A sequence whose decoding moves to the device. */
export interface LaneRequest {
  readonly sequence: Sequence;
  readonly params: SamplingParams;
  readonly choice: number;
  /** A live view. */
  readonly blockTable: readonly number[];
}

/** `sampleMs` goes on to the walk and the commit. */
interface ResidentTimes extends PassTimes {
  readonly draftMs: number;
}

export interface LaneStep extends LaneResult {
  /** Of the emitted tokens, where the request asks for them. */
  readonly logprobs?: readonly TokenLogprobs[];
}

export interface ResidentStep {
  /** Of the sequences that it was for, in their order. */
  readonly lanes: readonly LaneStep[];
  readonly times?: ResidentTimes;
}
