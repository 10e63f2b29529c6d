import { NoProposer } from "../../../engine/speculative/root-only.ts";
import { SuffixProposer } from "../../../engine/speculative/suffix.ts";
import { UnionProposer } from "../../../engine/speculative/union.ts";
import { LoopProposer } from "./loop-proposer.ts";
import { proposerContract } from "./proposer-contract.ts";

proposerContract("none", () => new NoProposer());
proposerContract("suffix", () => new SuffixProposer());
proposerContract("suffix, with much larger trees", () => new SuffixProposer(), { maxNodes: 64, maxDepth: 40 });
proposerContract("union", () => new UnionProposer([new SuffixProposer(), new LoopProposer()]));
