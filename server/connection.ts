import type { ServerResponse } from "node:http";
import type { FastifyInstance } from "fastify";

/**
 * Every response closes with its connection. Of requests that come one behind the other (HTTP pipelining) only the first has
 * the socket, and only that one is told by Node when it closes: the others would be worked on for nobody, without an end.
 */
export function useConnections(app: FastifyInstance): void {
  app.addHook("onRequest", async ({ raw: { socket } }, { raw }) => {
    const onClose = () => dropResponse(raw);
    // One for each request that waits for its turn.
    socket.setMaxListeners(0).once("close", onClose);
    raw.once("close", () => socket.off("close", onClose));
  });
}

/** Closes the response and its connection; one whose turn has not come closes now, and the connection when it comes. */
export function dropResponse(raw: ServerResponse): void {
  if (raw.destroyed) return;
  raw.destroy();
  // Node tells it through the socket.
  if (raw.socket === null) raw.emit("close");
}
