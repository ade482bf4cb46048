import assert from "node:assert/strict";
import { test } from "node:test";

import { Chat } from "@ai-sdk/react";

import { ChatBackendTransport } from "../src/ai-sdk.js";
import { textOf } from "../src/ui-messages.js";
import { Proxy } from "../test/support/proxy.js";
import { eventually } from "../test/support/waiting.js";
import { createChannel, optionsOf, restOf, websocketUrl } from "./stack.js";

/**
 * @import { TestContext } from "node:test"
 * @import { ChatUIMessage } from "../src/ui-messages.js"
 */

const SLOW = "[[demo total_ms=4000]] Tell me something.";
const ENDLESS = "[[demo total_ms=60000]] Tell me everything.";
const SECONDS = 60;

/**
 * @param {TestContext} t
 * @param {string} channelId
 * @param {{messages?: ChatUIMessage[], websocketUrl?: string, watch?: boolean}} [options]
 */
function openTab(t, channelId, { messages, watch, ...options } = {}) {
  const transport = new ChatBackendTransport({ ...optionsOf("alice"), ...options });
  t.after(() => transport.close());
  /** @type {Chat<ChatUIMessage>} */
  const chat = new Chat({ id: channelId, transport, messages });
  if (watch) t.after(transport.watch(channelId, (update) => void (chat.messages = update(chat.messages))));
  return { chat, transport };
}

/** @param {string} channelId */
async function finalText(channelId) {
  const { items } = await restOf("alice").listMessages(channelId);
  return items.findLast(({ sender }) => sender.kind === "agent")?.text;
}

/** @param {Chat<ChatUIMessage>} chat */
const lastText = (chat) => chat.messages.at(-1)?.parts && textOf(/** @type {ChatUIMessage} */ (chat.messages.at(-1)));

test("a reply streams, is cut in its middle, and ends as the log has it", async (t) => {
  const channelId = await createChannel("always");
  const proxy = await Proxy.start(websocketUrl, 3);
  t.after(() => proxy.stop());
  const { chat } = openTab(t, channelId, { websocketUrl: proxy.url });

  const sent = chat.sendMessage({ text: SLOW });
  await eventually(() => chat.status === "streaming", SECONDS);
  proxy.cut();
  await sent;

  assert.equal(chat.error, undefined);
  assert.equal(lastText(chat), await finalText(channelId));
  assert.equal(chat.messages.at(-1)?.metadata?.finishReason, "stop");
});

test("a page that is reloaded in the middle of a reply resumes it", async (t) => {
  const channelId = await createChannel("always");
  const before = openTab(t, channelId);
  const sent = before.chat.sendMessage({ text: SLOW });
  await eventually(() => before.chat.status === "streaming", SECONDS);
  before.transport.close();
  await sent;

  const after = openTab(t, channelId, { watch: true });
  after.chat.messages = await after.transport.history(channelId);
  await after.chat.resumeStream();

  await eventually(() => after.chat.messages.at(-1)?.metadata?.seq !== undefined, SECONDS);
  assert.equal(lastText(after.chat), await finalText(channelId));
});

test("stop ends the reply for both tabs within 2 s", async (t) => {
  const channelId = await createChannel("always");
  const first = openTab(t, channelId);
  const second = openTab(t, channelId);
  const sent = first.chat.sendMessage({ text: ENDLESS });
  await eventually(() => first.chat.status === "streaming", SECONDS);
  const resumed = second.chat.resumeStream();
  await eventually(() => second.chat.status === "streaming", SECONDS);

  const stoppedAt = performance.now();
  await second.chat.stop();
  await Promise.all([sent, resumed]);
  const seconds = (performance.now() - stoppedAt) / 1000;

  t.diagnostic(`ended after ${seconds.toFixed(2)} s`);
  assert.ok(seconds < 2, `${seconds} s`);
  assert.equal(first.chat.messages.at(-1)?.metadata?.finishReason, "cancelled");
});

test("regenerate writes another reply, and a failure is said in words", async (t) => {
  const channelId = await createChannel("always");
  const { chat } = openTab(t, channelId);
  await chat.sendMessage({ text: "Hello?" });

  await chat.regenerate();
  assert.equal(chat.messages.at(-1)?.metadata?.generation, 2);
  await chat.sendMessage({ text: "[[demo do=empty]] Say nothing." });

  assert.equal(chat.status, "error");
  assert.equal(chat.error?.message, "The model had nothing to say.");
});
