// Keeps the feed connected: tries again after a pause, for ever, except where the server wants an API key.
import { ApiError, events, request } from "./api.js";

/** @typedef {import("../routes/dashboard.ts").FeedMessage} FeedMessage */

const RETRY_MS = 2_000;
/** Messages come twice a second: silence this long means that the connection is dead. */
const SILENCE_MS = 6_000;

/**
 * @param {(message: FeedMessage) => void} onMessage
 * @param {(state: "live" | "down" | "locked", text: string) => void} onState
 */
export async function watchFeed(onMessage, onState) {
  for (;;) {
    try {
      await readFeed((message) => {
        onState("live", "Live");
        onMessage(message);
      });
      onState("down", "The server closed the feed");
    } catch (error) {
      if (error instanceof ApiError && error.status === 401) return onState("locked", "API key needed");
      onState("down", error instanceof ApiError ? error.message : "No connection to the server");
    }
    await new Promise((resolve) => setTimeout(resolve, RETRY_MS));
  }
}

/** @param {(message: FeedMessage) => void} onMessage */
async function readFeed(onMessage) {
  const connection = new AbortController();
  const watchdog = () => setTimeout(() => connection.abort(), SILENCE_MS);
  let silence = watchdog();
  try {
    for await (const message of events(await request("dashboard/feed", { signal: connection.signal }))) {
      clearTimeout(silence);
      silence = watchdog();
      onMessage(message);
    }
  } finally {
    clearTimeout(silence);
  }
}
