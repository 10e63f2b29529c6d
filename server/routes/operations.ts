import type { FastifyInstance } from "fastify";
import type { AppContext } from "../context.ts";
import { ApiError } from "../errors.ts";
import { VERSION } from "../version.ts";

/** Routes for those who run the server: probes, metrics, version. */
export function registerOperations(app: FastifyInstance, { admission, health, metrics }: AppContext): void {
  // Live: the process answers. Whether it can serve is what /ready says.
  app.get("/health", async () => ({ status: "ok" }));
  app.get("/ready", async () => {
    if (admission.draining) throw new ApiError("draining", "the server is shutting down");
    const reason = health.whyDead();
    if (reason !== undefined) throw new ApiError("engine_dead", `the engine is not running (${reason})`);
    const restarting = health.whyRestarting();
    if (restarting !== undefined) throw new ApiError("loading", `the engine is being started again (${restarting})`);
    return { status: "ready" };
  });
  app.get("/version", async () => ({ version: VERSION }));
  app.get("/metrics", async (_request, reply) => reply.type(metrics.contentType).send(await metrics.render()));
}
