// Everything on the page that shows the feed, except the tree.
import { SPAN_S, timeChart } from "./charts.js";
import { count, duration, figure, percent } from "./format.js";

/** @typedef {import("../routes/dashboard.ts").FeedMessage} FeedMessage */
/** @typedef {import("../dashboard-feed.ts").FeedPoint} FeedPoint */

/** The headline figures are means over this many whole seconds. */
const WINDOW_S = 3;

const element = (/** @type {string} */ id) => /** @type {HTMLElement} */ (document.getElementById(id));
const say = (/** @type {string} */ id, /** @type {string} */ text) => {
  element(id).textContent = text;
};
const perStep = (/** @type {FeedPoint} */ point, /** @type {number} */ ms) => ms / point.steps;
const otherMs = (/** @type {FeedPoint} */ p) => Math.max(0, p.stepMs - p.draftMs - p.verifyMs - p.commitMs);

const charts = [
  timeChart("chart-throughput", {
    label: "Tokens a second over the last three minutes",
    series: [
      { name: "accepted", label: "accepted from drafts", value: (p) => Math.min(p.acceptedTokens, p.tokens) },
      { name: "bonus", label: "sampled by the target", value: (p) => Math.max(0, p.tokens - p.acceptedTokens) },
    ],
    format: figure,
    leastMax: 10,
  }),
  timeChart("chart-requests", {
    label: "Sequences running and waiting over the last three minutes",
    series: [
      { name: "bonus", label: "running", value: (p) => p.running },
      { name: "waiting", label: "waiting", value: (p) => p.waiting },
    ],
    format: String,
    leastMax: 2,
  }),
  timeChart("chart-kv", {
    label: "Share of KV blocks in use over the last three minutes",
    series: [{ name: "kv", label: "in use", value: (p) => p.kvUsage }],
    format: percent,
    leastMax: 1,
  }),
  timeChart("chart-acceptance", {
    label: "Acceptance length over the last three minutes",
    series: [{ name: "accepted", label: "tokens a verified draft", value: (p) => p.acceptedTokens / p.drafts + 1 }],
    format: figure,
    leastMax: 2,
    isKnown: (p) => p.drafts > 0,
  }),
  timeChart("chart-step", {
    label: "Mean time of a step over the last three minutes, by part",
    series: [
      { name: "draft", label: "draft", value: (p) => perStep(p, p.draftMs) },
      { name: "verify", label: "verify", value: (p) => perStep(p, p.verifyMs) },
      { name: "commit", label: "commit", value: (p) => perStep(p, p.commitMs) },
      { name: "other", label: "other", value: (p) => perStep(p, otherMs(p)) },
    ],
    format: (x) => `${figure(x)} ms`,
    leastMax: 0.1,
    isKnown: (p) => p.steps > 0,
  }),
];

/** @type {FeedPoint[]} */
let points = [];

/** @param {FeedMessage} message */
export function showMessage(message) {
  if (message.info !== undefined) {
    showInfo(message.info);
    points = [];
  }
  const { load, totals, engineError } = message;
  element("engine-band").hidden = engineError === undefined;
  say("engine-band", `The engine is down: ${engineError ?? ""}`);
  say("info-uptime", duration(message.uptimeMs));
  say("num-running", count(load.numRunning));
  say("num-waiting", count(load.numWaiting));
  say("kv-usage", percent(load.kvUsage));
  if (totals.tokens > 0) {
    say(
      "totals",
      `${count(totals.tokens)} tokens since start; ${count(totals.acceptedTokens)} of ${count(totals.draftTokens)} drafted tokens accepted.`,
    );
  }
  showDepth(message.depth);
  if (message.points.length === 0) return;
  points = [...points, ...message.points].slice(-SPAN_S);
  for (const draw of charts) draw(points);
  showRates(points.slice(-WINDOW_S));
}

/** @param {NonNullable<FeedMessage["info"]>} info */
function showInfo(info) {
  say("info-model", info.modelName);
  say("info-drafter", info.drafter);
  say("info-adapter", info.adapter);
  say("info-context", `${count(info.maxModelLen)} tokens`);
  say("info-version", info.version);
  say("info-kv", `${count(info.numKvBlocks)} × ${info.blockSize} tokens`);
  element("software-band").hidden = info.adapterKind !== "software";
  document.title = `${info.modelName} · Canopy`;
}

/** Figures that have no value in these seconds keep the one they had. @param {readonly FeedPoint[]} recent */
function showRates(recent) {
  const sum = (/** @type {(p: FeedPoint) => number} */ value) => recent.reduce((total, p) => total + value(p), 0);
  say("tokens-per-second", figure(sum((p) => p.tokens) / recent.length));
  const [drafts, steps] = [sum((p) => p.drafts), sum((p) => p.steps)];
  if (drafts > 0) say("acceptance-length", (sum((p) => p.acceptedTokens) / drafts + 1).toFixed(2));
  if (steps > 0) say("step-ms", figure(sum((p) => p.stepMs) / steps));
}

/** @param {FeedMessage["depth"]} depth */
function showDepth({ drafts, reached }) {
  if (drafts === 0) return;
  say("depth-first", percent((reached[0] ?? 0) / drafts));
  say("depth-note", `of ${count(drafts)} drafts at depth 1`);
  const bars = reached.map((numReached, d) => {
    const share = numReached / drafts;
    const item = document.createElement("li");
    item.setAttribute("aria-label", `depth ${d + 1}: ${percent(share)}`);
    const bar = Object.assign(document.createElement("div"), { className: "bar" });
    bar.style.height = `${share * 100}%`;
    const track = Object.assign(document.createElement("div"), { className: "track" });
    track.append(bar);
    const label = (/** @type {string} */ textContent) => Object.assign(document.createElement("span"), { textContent });
    item.append(label(percent(share)), track, label(String(d + 1)));
    return item;
  });
  element("depth-bars").replaceChildren(...bars);
}
