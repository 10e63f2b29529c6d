// Requests to this server: the API key, where there is one, and server-sent events over fetch.

const STORAGE_KEY = "canopy-api-key";
/** The page is /dashboard, perhaps behind a proxy's prefix; the API is beside it. @param {string} path */
const url = (path) => new URL(path, document.baseURI);

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
    this.name = "ApiError";
    this.status = status;
  }
}

/**
 * Fetches and checks the status; tells the page (event "keyneeded") when the server wants a key.
 * @param {string} path @param {RequestInit} [init]
 * @returns {Promise<Response>}
 */
export async function request(path, init = {}) {
  const headers = new Headers(init.headers);
  const key = apiKey.get();
  if (key !== "") headers.set("authorization", `Bearer ${key}`);
  const response = await fetch(url(path), { ...init, headers, cache: "no-store", credentials: "same-origin" });
  if (response.ok) return response;
  if (response.status === 401) window.dispatchEvent(new CustomEvent("keyneeded", { detail: { hadKey: key !== "" } }));
  const body = await response.json().catch(() => undefined);
  throw new ApiError(response.status, body?.error?.message ?? `${response.status} ${response.statusText}`);
}

/**
 * The `data` of each server-sent event; comments and other fields are skipped.
 * @param {Response} response
 * @returns {AsyncGenerator<string, void, undefined>}
 */
export async function* events(response) {
  if (response.body === null) return;
  const reader = response.body.pipeThrough(new TextDecoderStream()).getReader();
  let rest = "";
  /** @type {string[]} */
  let data = [];
  try {
    for (;;) {
      const { value, done } = await reader.read();
      if (done) return;
      const lines = (rest + value).split("\n");
      rest = lines.pop() ?? "";
      for (const raw of lines) {
        const line = raw.endsWith("\r") ? raw.slice(0, -1) : raw;
        if (line.startsWith("data:")) data.push(line.slice(line[5] === " " ? 6 : 5));
        else if (line === "" && data.length > 0) {
          yield data.join("\n");
          data = [];
        }
      }
    }
  } finally {
    reader.cancel().catch(() => {});
  }
}
