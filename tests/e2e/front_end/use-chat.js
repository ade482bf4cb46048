// Shows the component of docs/clients.md as a browser would, types a question into it, sends it, and
// prints what is shown once the agent has answered.
import { JSDOM } from "jsdom";
import { createElement } from "react";

const PATIENCE_MS = 60_000;

const { window } = new JSDOM('<div id="root"></div>', { url: "http://localhost/" });
Object.assign(globalThis, { window, document: window.document });
globalThis.navigator ??= window.navigator; // Node has one since 21
const { createRoot } = await import("react-dom/client");
const { Conversation } = await import("./conversation.js");

const { REST, SOCKET, TOKEN, CHANNEL } = process.env;
const root = window.document.getElementById("root");
const component = createElement(Conversation, {
  restUrl: REST,
  websocketUrl: SOCKET,
  token: TOKEN,
  channelId: CHANNEL,
});
createRoot(root).render(component);

await until(() => root.querySelector("input"));
type(root.querySelector("input"), "What can you do?");
await until(() => root.querySelector("input").value !== "");
root.querySelector("form").dispatchEvent(new window.Event("submit", { bubbles: true, cancelable: true }));
await until(() => root.textContent.includes("What can you do?”"));
console.log(root.textContent);
process.exit(0);

function type(input, text) {
  // React hears of a value only from the element's own setter.
  const { set } = Object.getOwnPropertyDescriptor(window.HTMLInputElement.prototype, "value");
  set.call(input, text);
  input.dispatchEvent(new window.Event("input", { bubbles: true }));
}

function until(isSo) {
  return new Promise((resolve, reject) => {
    const late = setTimeout(() => reject(new Error(`never so: ${isSo}\n${root.innerHTML}`)), PATIENCE_MS);
    const look = () => {
      if (!isSo()) return;
      clearTimeout(late);
      watching.disconnect();
      resolve();
    };
    const watching = new window.MutationObserver(look);
    watching.observe(root, { attributes: true, characterData: true, childList: true, subtree: true });
    look();
  });
}
