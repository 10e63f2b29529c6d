// Keeps a connection to the feed: reconnects with growing pauses, and lets go while the tab is hidden.
import { ApiError, events, request } from "./api.js";

/** @typedef {import("../dashboard-feed.ts").FeedSnapshot} FeedSnapshot */
/** @typedef {import("../../engine/client.ts").EngineInfo & { version: string }} Info */
/** @typedef {FeedSnapshot & { info?: Info }} Message */
/** @typedef {{ name: "connecting" | "live" | "needs-key" | "paused" } | { name: "down", retryMs: number, reason: string }} State */

const FIRST_PAUSE_MS = 500;
const LONGEST_PAUSE_MS = 15_000;
/** Snapshots come twice a second: silence this long means that the connection is dead. */
const SILENCE_MS = 6_000;
const HIDDEN_MS = 30_000;

export class Feed {
  /** @type {AbortController | undefined} */
  #connection;
  /** @type {ReturnType<typeof setTimeout> | undefined} */
  #retryTimer;
  /** @type {ReturnType<typeof setTimeout> | undefined} */
  #hiddenTimer;
  #pauseMs = FIRST_PAUSE_MS;
  #onMessage;
  #onState;

  /** @param {(message: Message) => void} onMessage @param {(state: State) => void} onState */
  constructor(onMessage, onState) {
    this.#onMessage = onMessage;
    this.#onState = onState;
    document.addEventListener("visibilitychange", () => {
      clearTimeout(this.#hiddenTimer);
      if (document.hidden) this.#hiddenTimer = setTimeout(() => this.#pause(), HIDDEN_MS);
      else if (this.#connection === undefined) this.connect();
    });
  }

  /** Connects now, whatever went before. */
  connect() {
    this.#drop();
    const connection = new AbortController();
    this.#connection = connection;
    this.#onState({ name: "connecting" });
    this.#read(connection).then(
      () => this.#retry(connection, "the server closed the feed"),
      (error) => {
        if (error instanceof ApiError && error.status === 401) {
          if (this.#connection === connection) this.#onState({ name: "needs-key" });
        } else this.#retry(connection, error instanceof ApiError ? error.message : "the server cannot be reached");
      },
    );
  }

  /** @param {AbortController} connection */
  async #read(connection) {
    let silence = setTimeout(() => connection.abort(), SILENCE_MS);
    try {
      const response = await request("dashboard/feed", { signal: connection.signal });
      for await (const data of events(response)) {
        clearTimeout(silence);
        silence = setTimeout(() => connection.abort(), SILENCE_MS);
        if (this.#connection !== connection) return;
        /** @type {Message} */
        const message = JSON.parse(data);
        if (message.info !== undefined) {
          this.#pauseMs = FIRST_PAUSE_MS;
          this.#onState({ name: "live" });
        }
        this.#onMessage(message);
      }
    } finally {
      clearTimeout(silence);
    }
  }

  /** @param {AbortController} connection @param {string} reason */
  #retry(connection, reason) {
    if (this.#connection !== connection) return;
    this.#connection = undefined;
    const retryMs = this.#pauseMs * (0.8 + 0.4 * Math.random());
    this.#pauseMs = Math.min(this.#pauseMs * 2, LONGEST_PAUSE_MS);
    this.#onState({ name: "down", retryMs, reason });
    this.#retryTimer = setTimeout(() => this.connect(), retryMs);
  }

  #pause() {
    this.#drop();
    this.#onState({ name: "paused" });
  }

  #drop() {
    clearTimeout(this.#retryTimer);
    const connection = this.#connection;
    this.#connection = undefined;
    connection?.abort();
  }
}
