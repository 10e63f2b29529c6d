// What an engine's process runs.
import { setPriority } from "node:os";
import { createEngine } from "../create.ts";
import { hostEngine } from "./host.ts";

/** Nice value: a third of the share of what runs beside it. */
const PRIORITY = 5;

/**
 * A software adapter computes on every core, which the server needs a little of, and at once: to answer, to stream, to be asked how
 * it is. Threads have the priority of the one that starts them.
 */
const makeWay = () => setPriority(PRIORITY);

hostEngine((options) => createEngine(options, makeWay));
