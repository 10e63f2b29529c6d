// What a text thread runs: it says that it is ready, then answers each job.
import { parentPort, workerData } from "node:worker_threads";
import type { TextAssets } from "../engine/model/types.ts";
import { ModelText } from "../engine/text/model-text.ts";
import { ApiError } from "./errors.ts";
import { runTextJob, type TextJob, type TextResult } from "./text-job.ts";
import { LocalTextService } from "./text-service.ts";

const text = new LocalTextService(new ModelText(workerData as TextAssets));

parentPort?.postMessage("ready");
parentPort?.on("message", async (job: TextJob) => {
  const result = await run(job);
  parentPort?.postMessage(result, "ids" in result ? [result.ids.buffer] : []);
});

async function run(job: TextJob): Promise<TextResult> {
  try {
    return { ids: Uint32Array.from(await runTextJob(text, job)) };
  } catch (error) {
    if (error instanceof ApiError) {
      const { code, message, param } = error;
      return { refusal: { code, message, param } };
    }
    return { failure: error instanceof Error ? (error.stack ?? error.message) : String(error) };
  }
}
