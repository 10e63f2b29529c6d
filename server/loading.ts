import { once } from "node:events";
import { createServer, type IncomingMessage, type ServerResponse } from "node:http";
import { ApiError } from "./errors.ts";

/** Holds the port until the server proper takes it over. */
export interface LoadingServer {
  readonly port: number;
  /** Frees the port, if it has not yet; clients that are still connected are cut off. */
  close(): Promise<void>;
}

const JSON_TYPE = { "content-type": "application/json; charset=utf-8" };
const HTML_TYPE = { "content-type": "text/html; charset=utf-8" };
const REFUSAL = new ApiError("loading", "the model is being loaded; try again shortly", {
  headers: { "retry-after": "5" },
});

/** For browsers: it asks again by itself, until the dashboard is there. */
const PAGE = `<!doctype html>
<html lang="en">
<meta charset="utf-8">
<meta name="viewport" content="width=device-width">
<meta name="color-scheme" content="dark light">
<meta http-equiv="refresh" content="2">
<title>Canopy</title>
<h1>Canopy</h1>
<p>The model is being loaded. This page becomes the dashboard when that is done.</p>
</html>
`;

/**
 * Listens while the model loads, which may take minutes: live on `/health`, 503 with Retry-After on everything else, so
 * that probes and clients tell a server that starts from one that is gone; to browsers in words.
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

function answer({ url, headers: { accept } }: IncomingMessage, response: ServerResponse): void {
  const send = (status: number, headers: Readonly<Record<string, string>>, body: string) =>
    // No connection may outlive this server.
    response.writeHead(status, { ...headers, connection: "close" }).end(body);
  if (url === "/health") send(200, JSON_TYPE, JSON.stringify({ status: "ok" }));
  else if (accept?.includes("text/html")) send(REFUSAL.status, { ...REFUSAL.headers, ...HTML_TYPE }, PAGE);
  else send(REFUSAL.status, { ...REFUSAL.headers, ...JSON_TYPE }, JSON.stringify(REFUSAL.toBody()));
}
