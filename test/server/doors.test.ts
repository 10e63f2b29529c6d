import { request } from "node:http";
import { describe, expect, it, vi } from "vitest";
import { ApiError } from "../../server/errors.ts";
import { post, stepsOf, type TestApp, useApps } from "../support/test-app.ts";

const CHAT = "/v1/chat/completions";
const body = { messages: [{ role: "user", content: "x" }] };
const start = useApps();
const answer = () => stepsOf("fine");

/** With a Host header of one's own, which fetch does not allow. */
function getAs(app: TestApp, path: string, host: string): Promise<number> {
  return new Promise((resolve, reject) => {
    const call = request(app.url + path, { headers: { host }, agent: false }, (response) => {
      response.resume();
      resolve(response.statusCode ?? 0);
    });
    call.on("error", reject).end();
  });
}

describe("API keys", () => {
  it("are required on every route but the allow-list, and compared whole", async () => {
    const app = await start({ answer }, { apiKeys: ["sk-one", "sk-two"] });
    for (const path of ["/v1/models", "/v1/models/fake", "/metrics", "/dashboard/feed", "/nowhere"]) {
      const response = await fetch(app.url + path);
      expect([path, response.status]).toEqual([path, 401]);
      expect(response.headers.get("www-authenticate")).toBe("Bearer");
    }
    for (const path of ["/health", "/ready", "/version", "/dashboard", "/dashboard/dashboard.js"]) {
      expect([path, (await fetch(app.url + path)).status]).toEqual([path, 200]);
    }
    const as = async (authorization: string) => (await post(app, CHAT, body, { authorization })).status;
    expect(await as("Bearer sk-one")).toBe(200);
    expect(await as("bearer sk-two")).toBe(200);
    for (const wrong of [
      "Bearer sk-on",
      "Bearer sk-onee",
      "Bearer",
      "Basic sk-one",
      "sk-one",
      "Bearer sk-one sk-two",
    ]) {
      expect([wrong, await as(wrong)]).toEqual([wrong, 401]);
    }
    expect(app.engine.requests).toHaveLength(2);
  });
});

describe("doors", () => {
  it("a name that is not ours in Host is refused on the loopback", async () => {
    const app = await start({ answer });
    expect(await getAs(app, "/v1/models", "evil.example")).toBe(403);
    expect(await getAs(app, "/v1/models", "evil.example:8181")).toBe(403);
    expect(await getAs(app, "/v1/models", "localhost:8181")).toBe(200);
    expect(await getAs(app, "/v1/models", "[::1]:8181")).toBe(200);
  });

  it("names are allowed in any case, IPv6 addresses with brackets and without", async () => {
    const allowedHosts = ["MyBox.local", "FD00::7", "[fd00::8]"];
    const app = await start({ answer }, { doors: { host: "127.0.0.1", allowedHosts, allowedOrigins: [] } });
    for (const host of ["MyBox.local", "mybox.LOCAL:8181", "[fd00::7]:8181", "[fd00::8]"])
      expect([host, await getAs(app, "/v1/models", host)]).toEqual([host, 200]);
    expect(await getAs(app, "/v1/models", "yourbox.local")).toBe(403);
  });

  it("the loopback is one in any case", async () => {
    const app = await start({ answer }, { doors: { host: "LocalHost", allowedHosts: [], allowedOrigins: [] } });
    expect(await getAs(app, "/v1/models", "evil.example")).toBe(403);
    expect(await getAs(app, "/v1/models", "localhost")).toBe(200);
  });

  it("doubled slashes are one: Open WebUI asks for /v1//models", async () => {
    const app = await start({ answer });
    expect((await fetch(`${app.url}/v1//models`)).status).toBe(200);
  });

  it("CORS is off: no answer invites another origin", async () => {
    const app = await start({ answer });
    const response = await fetch(`${app.url}/v1/models`, { headers: { origin: "https://app.example" } });
    expect([...response.headers.keys()].filter((name) => name.startsWith("access-control"))).toEqual([]);
  });
});

describe("an allowed origin", () => {
  const origin = "https://app.example";
  const allowed = { doors: { host: "127.0.0.1", allowedHosts: [], allowedOrigins: [origin] }, apiKeys: ["sk-one"] };
  const preflight = (app: TestApp, from: string) =>
    fetch(app.url + CHAT, {
      method: "OPTIONS",
      headers: {
        origin: from,
        "access-control-request-method": "POST",
        "access-control-request-headers": "authorization,content-type,x-stainless-lang",
      },
    });

  it("passes the preflight without a key, and may read streams and refusals", async () => {
    const app = await start({ answer }, allowed);
    const asked = await preflight(app, origin);
    expect(asked.status).toBe(204);
    expect(asked.headers.get("access-control-allow-origin")).toBe(origin);
    expect(asked.headers.get("access-control-allow-methods")).toContain("POST");
    expect(asked.headers.get("access-control-allow-headers")).toBe("authorization,content-type,x-stainless-lang");
    const stream = await post(app, CHAT, { ...body, stream: true }, { origin, authorization: "Bearer sk-one" });
    const refused = await post(app, CHAT, body, { origin });
    expect([stream.status, refused.status]).toEqual([200, 401]);
    for (const { headers } of [stream, refused]) {
      expect([headers.get("access-control-allow-origin"), headers.get("vary")]).toEqual([origin, "Origin"]);
    }
  });

  it("may be written in any case", async () => {
    const app = await start({ answer }, { doors: { ...allowed.doors, allowedOrigins: ["HTTPS://App.example"] } });
    const asked = await preflight(app, origin);
    expect([asked.status, asked.headers.get("access-control-allow-origin")]).toEqual([204, origin]);
  });

  it("is the only one", async () => {
    const app = await start({ answer }, allowed);
    const asked = await preflight(app, "https://evil.example");
    expect([asked.status, asked.headers.get("access-control-allow-origin")]).toEqual([403, null]);
  });
});

describe("overload and the end", () => {
  it("a full queue is 429 at once, with Retry-After", async () => {
    let open = () => {};
    const gate = new Promise<void>((resolve) => {
      open = resolve;
    });
    const app = await start({ answer, gate }, { maxQueue: 2 });
    const served = Array.from({ length: 6 }, () => post(app, CHAT, body));
    await vi.waitFor(() => expect(app.admission.numRequests).toBe(6));
    const refused = await Promise.all(Array.from({ length: 3 }, () => post(app, CHAT, body)));
    open();
    // Four run, two wait.
    expect(refused.map(({ status }) => status)).toEqual([429, 429, 429]);
    expect((await Promise.all(served)).map(({ status }) => status)).toEqual(new Array(6).fill(200));
    for (const { headers, text } of refused) {
      expect(Number(headers.get("retry-after"))).toBeGreaterThanOrEqual(1);
      expect(JSON.parse(text).error).toMatchObject({ type: "rate_limit_error", code: "queue_full" });
    }
  });

  it("a request larger than the queue is served by an empty server", async () => {
    const app = await start({ answer }, { maxQueue: 0 });
    expect((await post(app, CHAT, { ...body, n: 16 })).status).toBe(200);
  });

  it("draining: not ready, no new requests, those under way end well", async () => {
    const app = await start({ answer, stepMs: 50 });
    const underWay = post(app, CHAT, { ...body, stream: true });
    while (app.engine.requests.length === 0) await new Promise((resolve) => setTimeout(resolve, 5));
    app.admission.beginDrain();
    expect((await fetch(`${app.url}/ready`)).status).toBe(503);
    expect((await fetch(`${app.url}/health`)).status).toBe(200);
    const refused = await post(app, CHAT, body);
    expect([refused.status, refused.headers.get("retry-after")]).toEqual([503, "10"]);
    await app.admission.whenIdle();
    expect((await underWay).text).toMatch(/"finish_reason":"stop".*\n\ndata: \[DONE\]\n\n$/s);
  });

  it("what is cut off at the end is told why, in a stream and in a whole answer", async () => {
    const app = await start({ answer: () => stepsOf("word ".repeat(80)), stepMs: 50 });
    const stream = post(app, CHAT, { ...body, stream: true });
    const whole = post(app, CHAT, body);
    while (app.engine.requests.length < 2) await new Promise((resolve) => setTimeout(resolve, 5));
    app.admission.abortAll(new ApiError("draining", "the server was shut down"));
    expect((await stream).text).toMatch(/"error":\{"message":"the server was shut down".*\n\ndata: \[DONE\]\n\n$/s);
    expect((await whole).status).toBe(503);
    expect(app.engine.numAborted).toBe(2);
  });

  it("a dead engine: not ready, requests get 503 with Retry-After, live all the same", async () => {
    const app = await start({ answer });
    app.engine.dead = true;
    const refused = await post(app, CHAT, body);
    expect([refused.status, refused.headers.get("retry-after")]).toEqual([503, "5"]);
    expect((await fetch(`${app.url}/ready`)).status).toBe(503);
    expect((await fetch(`${app.url}/health`)).status).toBe(200);
    // Those who watch the server need its figures now more than ever.
    const metrics = await fetch(`${app.url}/metrics`);
    expect([metrics.status, await metrics.text()]).toEqual([200, expect.stringMatching(/num_requests_running 0$/m)]);
  });
});
