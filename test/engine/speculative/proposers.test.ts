import { NoProposer } from "../../../engine/speculative/root-only.ts";
import { SuffixProposer } from "../../../engine/speculative/suffix.ts";
import { proposerContract } from "./proposer-contract.ts";

proposerContract("none", () => new NoProposer());
proposerContract("suffix", () => new SuffixProposer());
proposerContract("suffix, with much larger trees", () => new SuffixProposer(), { maxNodes: 64, maxDepth: 40 });
