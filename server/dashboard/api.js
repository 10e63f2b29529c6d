// Requests to this server: the API key, where there is one, and server-sent events over fetch.

const STORAGE_KEY = "canopy-api-key";

/** Kept for this tab only. */
export const apiKey = {
  get: () => sessionStorage.getItem(STORAGE_KEY) ?? "",
  /** @param {string} key */
  set: (key) => sessionStorage.setItem(STORAGE_KEY, key),
  forget: () => sessionStorage.removeItem(STORAGE_KEY),
};

/** A response other than 2xx, with the server's own message. */
export class ApiError extends Error {
  /** @param {number} status @param {string} message */
  constructor(status, message) {
    super(message);
    this.status = status;
  }
}

/**
 * Fetches and checks the status; dispatches "keyneeded" on the window when the server wants a key.
 * @param {string} path relative to the page, which may live under a proxy's prefix
 * @param {RequestInit} [init]
 * @returns {Promise<Response>}
 */
export async function request(path, init = {}) {
  const headers = new Headers(init.headers);
  if (apiKey.get() !== "") headers.set("authorization", `Bearer ${apiKey.get()}`);
  const response = await fetch(path, { ...init, headers, cache: "no-store" });
  if (response.ok) return response;
  if (response.status === 401) window.dispatchEvent(new Event("keyneeded"));
  const body = await response.json().catch(() => undefined);
  throw new ApiError(response.status, body?.error?.message ?? `${response.status} ${response.statusText}`);
}

/**
 * The parsed `data` of each event up to `[DONE]`. Canopy's events are one line each; comment lines are skipped.
 * @param {Response} response
 */
export async function* events(response) {
  if (response.body === null) return;
  const reader = response.body.pipeThrough(new TextDecoderStream()).getReader();
  let rest = "";
  for (;;) {
    const { value, done } = await reader.read();
    if (done) return;
    const lines = (rest + value).split("\n");
    rest = lines.pop() ?? "";
    for (const line of lines) {
      if (line === "data: [DONE]") return;
      if (line.startsWith("data: ")) yield JSON.parse(line.slice(6));
    }
  }
}
