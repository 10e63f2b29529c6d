import { type FastifyInstance, fastify } from "fastify";
import { GREEDY } from "../../engine/sampling-params.ts";
import { useAuth } from "../../server/auth.ts";
import { registerDashboard } from "../../server/routes/dashboard.ts";
import { SSE_LIMITS, SseStream } from "../../server/sse.ts";
import { decodeFakeToken, FakeEngine } from "./fake-engine.ts";

/** A server with the real dashboard and a chat route of the API's shape, over a fake engine. */
export function buildFakeServer(options: {
  readonly stepMs: number;
  readonly keys?: readonly string[];
}): FastifyInstance {
  const app = fastify();
  const client = new FakeEngine(options.stepMs);
  useAuth(app, options.keys ?? []);
  registerDashboard(app, { client, decodeToken: decodeFakeToken });
  let numRequests = 0;
  app.post("/v1/chat/completions", async (_request, reply) => {
    reply.hijack();
    const stream = new SseStream(reply.raw, SSE_LIMITS);
    stream.open({});
    const controller = new AbortController();
    reply.raw.once("close", () => controller.abort());
    const request = { id: `chatcmpl-${++numRequests}/0`, choice: 0, promptTokenIds: [1], params: GREEDY };
    try {
      for await (const { tokenIds, numAccepted } of client.generate(request, controller.signal)) {
        const pieces = tokenIds.map((id, i) => ({ text: decodeFakeToken(id), accepted: i < numAccepted }));
        const content = pieces.map(({ text }) => text).join("");
        await stream.send({ choices: [{ index: 0, delta: { content }, finish_reason: null, canopy: { pieces } }] });
      }
      stream.end();
    } catch (error) {
      if (!controller.signal.aborted) throw error;
    }
  });
  return app;
}
