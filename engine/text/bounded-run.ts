import { createContext, Script } from "node:vm";

const sandbox: { job?: () => void } = createContext({});
const call = new Script("job()");

/**
 * Runs a function and throws if it has not returned in time, even out of an endless loop. It bounds time only: what
 * allocates without end needs a process of its own.
 */
export function runBounded<T>(run: () => T, timeoutMs: number): T {
  const results: T[] = [];
  sandbox.job = () => {
    results.push(run());
  };
  try {
    call.runInContext(sandbox, { timeout: timeoutMs });
  } finally {
    delete sandbox.job;
  }
  for (const result of results) return result;
  throw new Error("invariant: a function that returned has a result");
}
