// Wires the page: the feed to the panels, the API key, the chat.
import { apiKey } from "./api.js";
import { startChat } from "./chat.js";
import { watchFeed } from "./feed.js";
import { showMessage } from "./panels.js";
import { TreeView } from "./tree.js";

const element = (/** @type {string} */ id) => /** @type {HTMLElement} */ (document.getElementById(id));
const keyInput = /** @type {HTMLInputElement} */ (element("key-input"));

// A changed key starts the page anew, which is simpler than telling every part of it.
element("key-form").addEventListener("submit", (event) => {
  event.preventDefault();
  apiKey.set(keyInput.value.trim());
  location.reload();
});
element("key-forget").addEventListener("click", () => {
  apiKey.forget();
  location.reload();
});
element("key-forget").hidden = apiKey.get() === "";
window.addEventListener("keyneeded", () => {
  if (apiKey.get() !== "") element("key-note").textContent = "The server refused the key it was given.";
  if (!element("key-form").hidden) return;
  element("key-form").hidden = false;
  keyInput.focus();
});

const tree = new TreeView(element("tree"), element("tree-note"));
startChat();
watchFeed(
  (message) => {
    showMessage(message);
    if (message.tree !== undefined) tree.show(message.tree);
    if (message.info?.showsTrees === false) {
      element("tree-note").textContent = "not shown where several API keys share the server: trees are pieces of texts";
    }
  },
  (state, text) => {
    const pill = element("feed-state");
    if (pill.textContent === text) return; // a status that is written again is read out again
    pill.dataset.state = state;
    pill.textContent = text;
  },
);
