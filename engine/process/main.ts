// What an engine's process runs.
import { createEngine } from "../create.ts";
import { hostEngine } from "./host.ts";

hostEngine(createEngine);
