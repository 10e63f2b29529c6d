// A chat box over POST /v1/chat/completions that colours the tokens that came from accepted drafts.
import { events, request } from "./api.js";
import { figure, percent } from "./format.js";

/** @typedef {{ role: "user" | "assistant", content: string }} Message */
/** @typedef {{ text: string, accepted: boolean }} Piece */

const element = (/** @type {string} */ id) => /** @type {HTMLElement} */ (document.getElementById(id));
const input = (/** @type {string} */ id) => /** @type {HTMLInputElement} */ (element(id));
const log = element("chat-log");
const welcome = [...log.childNodes];

/** @type {Message[]} */
let messages = [];
/** @type {AbortController | undefined} */
let answering;

export function startChat() {
  const [form, box] = [/** @type {HTMLFormElement} */ (element("chat-form")), input("chat-input")];
  form.addEventListener("submit", (event) => {
    event.preventDefault();
    const question = box.value.trim();
    if (question === "" || answering !== undefined) return;
    box.value = "";
    ask(question);
  });
  box.addEventListener("keydown", (event) => {
    if (event.key !== "Enter" || event.shiftKey || event.isComposing) return;
    event.preventDefault();
    form.requestSubmit();
  });
  element("chat-stop").addEventListener("click", () => answering?.abort());
  element("chat-clear").addEventListener("click", () => {
    answering?.abort();
    messages = [];
    log.replaceChildren(...welcome);
    box.focus();
  });
}

/** @param {string} question */
async function ask(question) {
  const controller = new AbortController();
  setAnswering(controller);
  if (messages.length === 0) log.replaceChildren();
  const conversation = [...messages, /** @type {Message} */ ({ role: "user", content: question })];
  messages = conversation;
  append(log, "div", "message user", question);
  const answer = append(log, "div", "message assistant", "");
  const note = append(log, "p", "note", "…");
  try {
    note.textContent = await stream(conversation, answer, controller.signal);
  } catch (error) {
    const stopped = controller.signal.aborted;
    note.textContent = stopped ? "Stopped." : error instanceof Error ? error.message : String(error);
    note.classList.toggle("error", !stopped);
  }
  // "New chat" may have begun another conversation meanwhile. An empty answer would only confuse the model.
  if (messages === conversation) {
    const content = answer.textContent ?? "";
    messages = content === "" ? conversation.slice(0, -1) : [...conversation, { role: "assistant", content }];
  }
  if (answering === controller) setAnswering(undefined);
  scrollDown();
}

/**
 * Streams the answer into the element; resolves to a line about it.
 * @param {readonly Message[]} conversation @param {HTMLElement} answer @param {AbortSignal} signal
 */
async function stream(conversation, answer, signal) {
  const [maxTokens, temperature] = [input("chat-max-tokens").value, input("chat-temperature").value];
  const response = await request("v1/chat/completions", {
    method: "POST",
    signal,
    headers: { "content-type": "application/json" },
    body: JSON.stringify({
      messages: conversation,
      // Left out, the server decides: the rest of the context, and the model's own temperature.
      ...(maxTokens === "" ? {} : { max_tokens: Number(maxTokens) }),
      ...(temperature === "" ? {} : { temperature: Number(temperature) }),
      stream: true,
      canopy: { pieces: true },
    }),
  });
  let timings;
  for await (const event of events(response)) {
    if (event.error) throw new Error(event.error.message);
    timings = event.timings ?? timings;
    /** @type {Piece[]} */
    const pieces = event.choices?.[0]?.canopy?.pieces ?? [];
    for (const { text, accepted } of pieces) append(answer, "span", accepted ? "accepted" : "bonus", text);
    scrollDown();
  }
  if (timings === undefined) throw new Error("The answer broke off.");
  const { predicted_n: tokens, draft_n_accepted: accepted, predicted_per_second: speed } = timings;
  return `${tokens} tokens · ${percent(accepted / tokens)} from drafts · ${figure(speed)} tok/s`;
}

/** @param {AbortController | undefined} controller */
function setAnswering(controller) {
  answering = controller;
  element("chat-send").hidden = controller !== undefined;
  element("chat-stop").hidden = controller === undefined;
  log.setAttribute("aria-busy", String(controller !== undefined));
}

/** @param {HTMLElement} parent @param {string} tag @param {string} className @param {string} textContent */
function append(parent, tag, className, textContent) {
  const child = Object.assign(document.createElement(tag), { className, textContent });
  parent.append(child);
  return child;
}

function scrollDown() {
  log.scrollTop = log.scrollHeight;
}
