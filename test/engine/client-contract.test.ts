import { createEngine } from "../../engine/create.ts";
import { superviseEngine } from "../../engine/process/supervised-engine.ts";
import { SOURCE_HOST } from "../support/process-hosts.ts";
import { describeClientContract } from "./client-contract.ts";

describeClientContract("an engine in this process", createEngine);
describeClientContract("an engine in a child process", (options) => superviseEngine(options, { host: SOURCE_HOST }));
