import type { BlockManager } from "../kvcache/block-manager.ts";
import type { EngineInfo } from "./client.ts";
import type { DeviceLedger } from "./device-ledger.ts";
import type { ResidentLoop } from "./resident/resident-loop.ts";
import type { ModelRunner } from "./runner/model-runner.ts";
import type { TreePolicy } from "./speculative/budget/tree-policy.ts";
import type { Proposer } from "./speculative/proposer.ts";

/** What an engine is put together from. */
export interface EngineParts {
  readonly info: EngineInfo;
  readonly runner: ModelRunner;
  readonly blocks: BlockManager;
  readonly proposer: Proposer;
  readonly tokenBudget: number;
  /** Nodes of one draft tree, root included; 1 with a proposer that never proposes. */
  readonly treeNodes: number;
  /** How much is speculated. */
  readonly policy: TreePolicy;
  /** Run steady decoding on the device: where the proposer can draft there, and where nothing is drafted. */
  readonly residentDrafting?: ResidentLoop;
  readonly residentPlain?: ResidentLoop;
  /** Steps that may be submitted before the first one's tokens are read, where they run on the device. */
  readonly stepsInFlight: number;
  /** Check after every step what must hold, before any of its tokens leaves; the engine ends where it does not. */
  readonly checkInvariants: boolean;
  /** The ledger of everything on the device. */
  readonly ledger: DeviceLedger;
  /** Waits until the device has done all that it was given. @throws GpuError when it failed */
  readonly settled: () => Promise<void>;
  /** Frees the device and everything on it. */
  readonly dispose: () => void;
}
