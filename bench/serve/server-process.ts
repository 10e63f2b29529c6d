import { spawn } from "node:child_process";
import { once } from "node:events";
import { createServer } from "node:net";
import { join } from "node:path";

export interface ServerProcess {
  readonly url: string;
  readonly pid: number;
  /** Milliseconds from the start to readiness. */
  readonly readyMs: number;
  /** Asks it to end, and waits until it has. */
  stop(): Promise<void>;
}

const POLL_MS = 50;

/** Starts `canopy serve` with these arguments in a process of its own, so that its clients do not share its event loop. */
export async function startServer(args: readonly string[]): Promise<ServerProcess> {
  const startMs = performance.now();
  const port = await freePort();
  const cli = join(import.meta.dirname, "..", "..", "server", "cli.js");
  const server = spawn(process.execPath, [cli, "serve", "--port", String(port), "--log-level", "warn", ...args], {
    stdio: ["ignore", "inherit", "inherit"],
  });
  const exit = once(server, "exit");
  const url = `http://127.0.0.1:${port}`;
  while (!(await isReady(url))) {
    if (server.exitCode !== null) throw new Error(`canopy serve ended with ${server.exitCode}`);
    await new Promise((resolve) => setTimeout(resolve, POLL_MS));
  }
  return {
    url,
    pid: server.pid ?? 0,
    readyMs: performance.now() - startMs,
    async stop() {
      server.kill("SIGTERM");
      await exit;
    },
  };
}

async function isReady(url: string): Promise<boolean> {
  try {
    return (await fetch(`${url}/ready`)).ok;
  } catch {
    return false;
  }
}

async function freePort(): Promise<number> {
  const server = createServer().listen(0, "127.0.0.1");
  await once(server, "listening");
  const address = server.address();
  server.close();
  if (address === null || typeof address === "string") throw new Error("no port");
  return address.port;
}
