import { readdirSync } from "node:fs";
import { type FastifyInstance, fastify } from "fastify";
import { afterEach, describe, expect, it } from "vitest";
import { useAuth } from "../../server/auth.ts";
import { registerDashboard } from "../../server/routes/dashboard.ts";
import { FAKE_INFO, FakeEngine } from "../support/fake-engine.ts";
import { firstEvent } from "../support/test-app.ts";

const apps: FastifyInstance[] = [];
afterEach(async () => {
  await Promise.all(
    apps.splice(0).map((app) => {
      // A connection that fetch opened and did not use would be waited for.
      app.server.closeAllConnections();
      return app.close();
    }),
  );
});

function newApp({
  client = new FakeEngine({ answer: () => [] }),
  keys = [] as readonly string[],
} = {}): FastifyInstance {
  const app = fastify();
  apps.push(app);
  useAuth(app, keys);
  registerDashboard(app, { client, decodeToken: String });
  return app;
}

/** The first event of the feed, as it comes over a real connection. */
async function firstMessage(app: FastifyInstance) {
  return firstEvent(`${await app.listen({ port: 0, host: "127.0.0.1" })}/dashboard/feed`);
}

describe("files", () => {
  it("serves every file of the folder, with its type and no way to load anything from elsewhere", async () => {
    const app = newApp();
    const types: Readonly<Record<string, string>> = { js: "text/javascript", css: "text/css", svg: "image/svg+xml" };
    const names = readdirSync(new URL("../../server/dashboard", import.meta.url)).filter(
      (name) => name !== "index.html",
    );
    expect(names.length).toBeGreaterThan(5);
    for (const name of names) {
      const response = await app.inject(`/dashboard/${name}`);
      expect(response.statusCode, name).toBe(200);
      expect(response.headers["content-type"], name).toContain(types[name.split(".").at(-1) ?? ""]);
      expect(response.headers["x-content-type-options"]).toBe("nosniff");
    }
    const page = await app.inject("/dashboard");
    expect(page.headers["content-type"]).toBe("text/html; charset=utf-8");
    expect(page.headers["x-frame-options"]).toBe("DENY");
    const policy = String(page.headers["content-security-policy"]);
    expect(policy).toContain("default-src 'none'");
    expect(policy).toContain("script-src 'self';");
    expect(policy).not.toMatch(/unsafe|https?:|\*/);
  });

  it("answers 304 to the ETag it gave, and 200 to another", async () => {
    const app = newApp();
    const { etag } = (await app.inject("/dashboard/dashboard.js")).headers;
    const again = (value: string) =>
      app.inject({ url: "/dashboard/dashboard.js", headers: { "if-none-match": value } });
    const unchanged = await again(String(etag));
    expect([unchanged.statusCode, unchanged.body]).toEqual([304, ""]);
    expect((await again('"other"')).statusCode).toBe(200);
  });

  it.each([
    "/dashboard/nothing.js",
    "/dashboard/../dashboard-feed.ts",
    "/dashboard/..%2fdashboard-feed.ts",
    "/dashboard/%2e%2e/%2e%2e/package.json",
    "/dashboard/index.html",
  ])("has no %s", async (url) => {
    expect((await newApp().inject(url)).statusCode).toBe(404);
  });

  it.each([
    ["/", "dashboard"],
    ["/dashboard/", "../dashboard"],
  ])("sends %s to the page by a relative address", async (url, location) => {
    const response = await newApp().inject(url);
    expect([response.statusCode, response.headers.location]).toEqual([302, location]);
  });
});

describe("with an API key", () => {
  it("gives the page to everyone and the feed only to those who have the key", async () => {
    const app = newApp({ keys: ["secret"] });
    for (const url of ["/", "/dashboard", "/dashboard/", "/dashboard/dashboard.js", "/dashboard/favicon.svg"]) {
      expect((await app.inject(url)).statusCode, url).toBeLessThan(400);
    }
    expect((await app.inject("/dashboard/feed")).statusCode).toBe(401);
    const wrong = await app.inject({ url: "/dashboard/feed", headers: { authorization: "Bearer wrong" } });
    expect(wrong.statusCode).toBe(401);
  });
});

describe("feed", () => {
  it("begins with what is served and the state now", async () => {
    const { response, message } = await firstMessage(newApp());
    expect(response.status).toBe(200);
    expect(response.headers.get("content-type")).toBe("text/event-stream; charset=utf-8");
    const load = { numRunning: 0, numWaiting: 0, kvUsage: 0 };
    expect(message).toMatchObject({ info: { ...FAKE_INFO, version: expect.any(String) }, load, points: [] });
    expect(message).not.toHaveProperty("engineError");
  });

  it("goes on and says why when the engine is dead", async () => {
    const client = new FakeEngine({ answer: () => [] });
    client.dead = true;
    const { message } = await firstMessage(newApp({ client }));
    expect(message).toMatchObject({ engineError: "it was told to die", load: { numRunning: 0 } });
  });

  it("ends the open streams when the server closes", async () => {
    const app = newApp();
    const response = await fetch(`${await app.listen({ port: 0, host: "127.0.0.1" })}/dashboard/feed`);
    const body = response.text();
    await app.close();
    expect(await body).toMatch(/data: \[DONE\]\n\n$/);
  });

  it("refuses more watchers than its limit until one leaves", async () => {
    const url = `${await newApp().listen({ port: 0, host: "127.0.0.1" })}/dashboard/feed`;
    const leave = new AbortController();
    const first = await fetch(url, { signal: leave.signal });
    const others = await Promise.all(Array.from({ length: 31 }, () => fetch(url)));
    expect([first, ...others].map(({ status }) => status)).toEqual(Array.from({ length: 32 }, () => 200));
    const refused = await fetch(url);
    expect(refused.status).toBe(429);
    expect(await refused.text()).toContain("32 dashboards are open");
    leave.abort();
    await expect.poll(async () => (await fetch(url)).status).toBe(200);
  });
});
