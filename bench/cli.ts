#!/usr/bin/env node
import { helpText, type Suite } from "./suite.ts";
import { acceptance } from "./suites/acceptance.ts";
import { attention } from "./suites/attention.ts";
import { chains } from "./suites/chains.ts";
import { contexts } from "./suites/contexts.ts";
import { decode } from "./suites/decode.ts";
import { dispatch } from "./suites/dispatch.ts";
import { gated } from "./suites/gated.ts";
import { identity } from "./suites/identity.ts";
import { kvDtype } from "./suites/kv-dtype.ts";
import { load } from "./suites/load.ts";
import { matmul } from "./suites/matmul.ts";
import { prefix } from "./suites/prefix.ts";
import { reference } from "./suites/reference.ts";
import { serve } from "./suites/serve.ts";
import { soak } from "./suites/soak.ts";
import { speculate } from "./suites/speculate.ts";
import { suffix } from "./suites/suffix.ts";
import { throughput } from "./suites/throughput.ts";

const SUITES: Readonly<Record<string, Suite>> = {
  ...{ throughput, speculate, acceptance, load, contexts, decode, prefix, identity, reference, chains },
  ...{ dispatch, matmul, gated, attention, serve, soak, suffix, "kv-dtype": kvDtype },
};

const args = process.argv.slice(2);
const name = args[0]?.startsWith("--") === false ? args[0] : undefined;
const suite = SUITES[name ?? "throughput"];
if (suite === undefined) {
  console.error(`There is no suite ${name}.\n\n${helpText(SUITES)}`);
  process.exitCode = 2;
} else if (args.includes("--help")) {
  console.log(helpText(SUITES));
} else {
  await suite.run(name === undefined ? args : args.slice(1));
}
