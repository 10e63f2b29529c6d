// A thread that asks /health again and again, so that what it measures is not its caller's own work. It ends with a message.
import { Agent, get } from "node:http";
import { parentPort, workerData } from "node:worker_threads";

const INTERVAL_MS = 100;
const { url } = workerData as { readonly url: string };
const agent = new Agent({ keepAlive: true, maxSockets: 1 });
/** Of answers with 200; infinite for others. */
const times: number[] = [];
let isOver = false;
parentPort?.once("message", () => {
  isOver = true;
});

while (!isOver) {
  times.push(await probe());
  await new Promise((resolve) => setTimeout(resolve, INTERVAL_MS));
}
agent.destroy();
parentPort?.postMessage(times);

function probe(): Promise<number> {
  const startMs = performance.now();
  return new Promise((resolve) => {
    get(`${url}/health`, { agent }, (response) => {
      response.resume();
      response.once("end", () =>
        resolve(response.statusCode === 200 ? performance.now() - startMs : Number.POSITIVE_INFINITY),
      );
    }).once("error", () => resolve(Number.POSITIVE_INFINITY));
  });
}
