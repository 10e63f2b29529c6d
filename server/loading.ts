import { once } from "node:events";
import { createServer, type IncomingMessage, type ServerResponse } from "node:http";
import { ApiError } from "./errors.ts";

/** Holds the port until the server proper takes it over. */
export interface LoadingServer {
  readonly port: number;
  /** Frees the port, if it has not yet; clients that are still connected are cut off. */
  close(): Promise<void>;
}

/**
 * Listens while the model loads, which may take minutes: live on `/health`, 503 with Retry-After on everything else, so
 * that probes and clients tell a server that starts from one that is gone.
 * @throws the system's error of listening (EADDRINUSE, EACCES, …)
 */
export async function listenWhileLoading(host: string, port: number): Promise<LoadingServer> {
  const server = createServer(answer);
  server.listen({ host, port });
  await once(server, "listening");
  const address = server.address();
  return {
    port: typeof address === "object" && address !== null ? address.port : port,
    close: async () => {
      if (!server.listening) return;
      const closed = once(server, "close");
      server.close();
      server.closeAllConnections();
      await closed;
    },
  };
}

function answer(request: IncomingMessage, response: ServerResponse): void {
  // No connection may outlive this server.
  const send = (status: number, headers: Readonly<Record<string, string>>, body: object) =>
    response
      .writeHead(status, { ...headers, "content-type": "application/json; charset=utf-8", connection: "close" })
      .end(JSON.stringify(body));
  if (request.url === "/health") {
    send(200, {}, { status: "ok" });
    return;
  }
  const refusal = new ApiError("loading", "the model is being loaded; try again shortly", {
    headers: { "retry-after": "5" },
  });
  send(refusal.status, refusal.headers, refusal.toBody());
}
