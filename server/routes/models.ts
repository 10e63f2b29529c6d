import type { FastifyInstance } from "fastify";
import { longestSequence } from "../../engine/request-check.ts";
import type { AppContext, ServedModel } from "../context.ts";
import { ApiError } from "../errors.ts";

export function registerModels(app: FastifyInstance, { client, model }: AppContext): void {
  const entry = (id: string) => ({
    ...{ id, object: "model", created: model.created, owned_by: "canopy" },
    max_model_len: longestSequence(client.info),
  });
  app.get("/v1/models", async () => ({ object: "list", data: model.names.map(entry) }));
  // A star: ids may hold slashes ("org/name").
  app.get<{ Params: { "*": string } }>("/v1/models/*", async ({ params }) => {
    checkModel(model, params["*"]);
    return entry(params["*"]);
  });
}

/** A request may leave the model out. @throws ApiError model_not_found naming those that are served */
export function checkModel({ names }: ServedModel, name: string | null | undefined): void {
  if (name == null || names.includes(name)) return;
  const message = `the model ${JSON.stringify(name)} is not served here; served: ${names.join(", ")}`;
  throw new ApiError("model_not_found", message, { param: "model" });
}
