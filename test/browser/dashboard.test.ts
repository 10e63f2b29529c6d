import type { FastifyInstance } from "fastify";
import { type Browser, chromium, type Page } from "playwright-core";
import { afterAll, afterEach, beforeAll, describe, expect, it } from "vitest";
import { TREE_ENGINE_INFO, WORDS } from "./tree-engine.ts";
import { buildTreeServer } from "./tree-server.ts";

const KEY = "secret";
const PATIENCE = { timeout: 20_000 };

let browser: Browser;
const apps: FastifyInstance[] = [];
/** What went wrong in the pages of a test: console errors, exceptions, requests to other origins. */
let troubles: string[] = [];

beforeAll(async () => {
  const executablePath = process.env.CHROMIUM_PATH ?? "/usr/bin/chromium";
  browser = await chromium.launch({ executablePath, args: ["--no-sandbox"] });
});
afterAll(() => browser.close());
afterEach(async () => {
  await Promise.all(browser.contexts().map((context) => context.close()));
  await Promise.all(apps.splice(0).map((app) => app.close()));
  troubles = [];
});

async function open(options: { readonly keys?: readonly string[]; readonly stepMs?: number } = {}): Promise<Page> {
  const { server: app } = await buildTreeServer({ stepMs: 20, ...options });
  apps.push(app);
  const origin = await app.listen({ port: 0, host: "127.0.0.1" });
  const page = await (await browser.newContext()).newPage();
  page.on("console", (message) => {
    if (["error", "warning"].includes(message.type())) troubles.push(message.text());
  });
  page.on("pageerror", (error) => troubles.push(String(error)));
  page.on("request", (request) => {
    if (new URL(request.url()).origin !== origin) troubles.push(`request to ${request.url()}`);
  });
  await page.goto(`${origin}/dashboard`);
  return page;
}

const text = (page: Page, selector: string) => page.locator(selector).textContent();

/** The computed style of the first element that matches. */
async function style(page: Page, selector: string, property: string): Promise<string> {
  const element = `document.querySelector(${JSON.stringify(selector)})`;
  const value: unknown = await page.evaluate(`getComputedStyle(${element}).${property}`);
  if (typeof value !== "string" || value === "") throw new Error(`${selector} has no ${property}`);
  return value;
}

async function ask(page: Page, question: string): Promise<void> {
  await page.getByLabel("Message").fill(question);
  await page.getByLabel("Message").press("Enter");
}

describe("dashboard", () => {
  it("shows what is served, with a band on a software adapter", async () => {
    const page = await open();
    await expect.poll(() => text(page, "#feed-state"), PATIENCE).toBe("Live");
    expect(await text(page, "#info-model")).toBe("stories-15m");
    expect(await text(page, "#info-adapter")).toContain("SwiftShader");
    expect(await page.locator("#software-band").isVisible()).toBe(true);
    expect(await page.locator("#key-form").isVisible()).toBe(false);
    const uptime = await text(page, "#info-uptime");
    await expect.poll(() => text(page, "#info-uptime"), PATIENCE).not.toBe(uptime);
    expect(troubles).toEqual([]);
  });

  it("answers in the chat, colours accepted tokens, moves the figures and draws the tree", async () => {
    const page = await open();
    await ask(page, "Tell me a story");
    await expect.poll(() => text(page, "#chat-log .note"), PATIENCE).toMatch(/^39 tokens · \d+% from drafts/);
    expect(await text(page, ".message.assistant")).toBe(WORDS.join(""));
    const accepted = page.locator(".message.assistant .accepted");
    expect((await accepted.allTextContents()).slice(0, 3)).toEqual(WORDS.slice(0, 3));
    const colourOf = (kind: string) => style(page, `.message.assistant .${kind}`, "backgroundColor");
    expect(await colourOf("accepted")).not.toBe(await colourOf("bonus"));

    await expect.poll(() => text(page, "#tokens-per-second"), PATIENCE).toMatch(/[1-9]/);
    expect(Number(await text(page, "#acceptance-length"))).toBeGreaterThan(1);
    await expect.poll(() => text(page, "#totals"), PATIENCE).toContain("39 tokens");
    expect(await page.locator("#depth-bars li").count()).toBe(TREE_ENGINE_INFO.treeDepth);
    expect(await page.locator("#depth-bars li").first().getAttribute("aria-label")).toMatch(/^depth 1: [1-9]\d*%$/);
    for (const chart of ["throughput", "requests", "kv", "acceptance", "step"]) {
      expect(await page.locator(`#chart-${chart} .line`).first().getAttribute("d"), chart).toMatch(/^M/);
    }

    // The last step accepts the two tokens before the last.
    expect(await page.locator("#tree .node.accepted text").allTextContents()).toEqual(["·The", "·end"]);
    expect(await page.locator("#tree .node.bonus text").allTextContents()).toEqual(["."]);
    expect(await page.locator("#tree .edge.accepted").count()).toBe(2);
    const strokeOf = (kind: string) => style(page, `#tree .edge.${kind}`, "stroke");
    expect(await strokeOf("accepted")).not.toBe(await strokeOf("rejected"));
    expect(troubles).toEqual([]);
  });

  it("tells a node's probability to the mouse and to the keyboard", async () => {
    const page = await open();
    await ask(page, "Tell me a story");
    await expect.poll(() => text(page, "#chat-log .note"), PATIENCE).toMatch(/^39 tokens/);
    // Steps before the last accept two tokens too.
    const accepted = () => page.locator("#tree .node.accepted text").allTextContents();
    await expect.poll(accepted, PATIENCE).toEqual(["·The", "·end"]);
    await page.locator("#tree .node.accepted").first().hover();
    expect(await text(page, "#tip")).toContain("probability 90%");
    await page.mouse.move(0, 0);
    expect(await page.locator("#tip").isVisible()).toBe(false);
    await page.locator("#tree .node.root").focus();
    await page.keyboard.press("ArrowRight");
    await page.keyboard.press("ArrowRight");
    expect(await text(page, "#tip")).toContain("probability 77%");
    expect(await page.locator("#tree .node:focus text").textContent()).toBe("·end");
    expect(troubles).toEqual([]);
  });

  it("stops an answer, and starts a new chat", async () => {
    const page = await open({ stepMs: 300 });
    await ask(page, "Tell me a story");
    await expect.poll(() => text(page, ".message.assistant"), PATIENCE).not.toBe("");
    await page.getByRole("button", { name: "Stop" }).click();
    await expect.poll(() => text(page, "#chat-log .note"), PATIENCE).toBe("Stopped.");
    await expect.poll(() => text(page, "#num-running"), PATIENCE).toBe("0");
    await page.getByRole("button", { name: "New chat" }).click();
    expect(await page.locator(".message").count()).toBe(0);
    expect(troubles).toEqual([]);
  });

  it("asks for the API key, keeps it for the tab, and forgets it on request", async () => {
    const page = await open({ keys: [KEY] });
    await page.getByLabel("This server asks for an API key").fill("wrong");
    await page.getByRole("button", { name: "Use key" }).click();
    await expect.poll(() => text(page, "#key-note"), PATIENCE).toContain("refused");
    await page.getByLabel("This server asks for an API key").fill(KEY);
    await page.getByRole("button", { name: "Use key" }).click();
    await expect.poll(() => text(page, "#feed-state"), PATIENCE).toBe("Live");
    await ask(page, "Tell me a story");
    await expect.poll(() => text(page, "#chat-log .note"), PATIENCE).toMatch(/^39 tokens/);
    await page.reload();
    await expect.poll(() => text(page, "#feed-state"), PATIENCE).toBe("Live");
    await page.getByRole("button", { name: "Forget API key" }).click();
    await expect.poll(() => page.locator("#key-form").isVisible(), PATIENCE).toBe(true);
    // Chromium itself reports the refused requests.
    expect(troubles.filter((trouble) => !trouble.includes("401"))).toEqual([]);
  });
});
