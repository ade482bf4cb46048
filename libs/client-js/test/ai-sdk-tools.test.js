import assert from "node:assert/strict";
import { afterEach, beforeEach, test } from "node:test";

import { Chat } from "@ai-sdk/react";
import { isDynamicToolUIPart, lastAssistantMessageIsCompleteWithApprovalResponses } from "ai";

import { ChatBackendTransport } from "../src/ai-sdk.js";
import { textOf } from "../src/ui-messages.js";
import { userSender } from "./support/fake-channel.js";
import { FakeServer } from "./support/fake-server.js";
import { TIMING, webSocket } from "./support/sessions.js";
import { eventually } from "./support/waiting.js";

/**
 * @import { TestContext } from "node:test"
 * @import { ChatUIMessage } from "../src/ui-messages.js"
 * @import { ApprovalRule } from "../src/wire.js"
 * @import { FakeCall } from "./support/fake-call.js"
 * @import { FakeChannel, FakeReply } from "./support/fake-channel.js"
 */

/** @type {FakeServer} */
let server;
/** @type {FakeCall[]} */
let calls;

beforeEach(async () => {
  server = await FakeServer.start();
  calls = [];
  server.script = noting();
});
afterEach(() => server.stop());

/**
 * A reply that notes something once it may, and says so.
 *
 * @param {...ApprovalRule} rules One call each.
 */
function noting(...rules) {
  return async (/** @type {FakeReply} */ reply) => {
    reply.write("I note it. ");
    const asked = (rules.length > 0 ? rules : [/** @type {const} */ ("requester")]).map((approval, index) =>
      reply.ask("notes.add", { text: `note ${index}` }, { approval }),
    );
    calls.push(...asked);
    for (const call of asked) {
      if (call.approval === "none" || (await call.decision) === "approved") call.finish("ok", "noted");
    }
    reply.write("It is done.");
    reply.finish();
  };
}

/**
 * @param {TestContext} t
 * @param {FakeChannel} channel
 * @param {{userId?: string, messages?: ChatUIMessage[], watch?: boolean, published?: boolean}} [options]
 */
function openTab(t, channel, { userId = "alice", messages, watch = false, published = false } = {}) {
  const transport = new ChatBackendTransport({ ...server.optionsOf(userId), webSocket, timing: TIMING, settling: 5 });
  t.after(() => transport.close());
  /** @type {Error[]} */
  const errors = [];
  const id = channel.channelId;
  const sendAutomaticallyWhen = published
    ? lastAssistantMessageIsCompleteWithApprovalResponses
    : transport.sendAutomaticallyWhen;
  /** @type {Chat<ChatUIMessage>} */
  const chat = new Chat({ id, transport, messages, sendAutomaticallyWhen, onError: (error) => errors.push(error) });
  if (watch) {
    t.after(
      transport.watch(id, (update) => {
        chat.messages = update(chat.messages);
      }),
    );
  }
  return { chat, transport, errors };
}

const openChannel = () => server.createChannel({ agent: { mode: "always", tools: ["notes.*"] } });

/** @param {Chat<ChatUIMessage>} chat */
const parts = (chat) => chat.messages.flatMap((message) => message.parts.filter(isDynamicToolUIPart));

/** @param {Chat<ChatUIMessage>} chat */
const states = (chat) => parts(chat).map(({ state }) => state);

/** @param {Chat<ChatUIMessage>} chat */
const text = (chat) => textOf(/** @type {ChatUIMessage} */ (chat.messages.at(-1)));

for (const published of [false, true]) {
  test(`an approval is asked, answered and sent on (the SDK's own condition: ${published})`, async (t) => {
    const channel = openChannel();
    const { chat, errors } = openTab(t, channel, { published });

    await chat.sendMessage({ text: "Note it." });
    const [asked] = parts(chat);
    assert.deepEqual([chat.status, asked?.state], ["ready", "approval-requested"]);
    assert.deepEqual([asked?.toolName, asked?.input], ["notes.add", { text: "note 0" }]);
    await chat.addToolApprovalResponse({ id: asked?.approval?.id ?? "", approved: true });
    await eventually(() => chat.status === "ready" && states(chat)[0] === "output-available");

    const [done] = parts(chat);
    assert.equal(done?.output, "noted");
    assert.equal(done?.approval?.reason, "Approved by alice.");
    assert.equal(text(chat), "I note it. It is done.");
    const types = chat.messages[1]?.parts.map(({ type }) => type);
    assert.deepEqual(types, ["text", "dynamic-tool", "text"]);
    assert.equal(calls[0]?.decided?.sender.id, "alice");
    assert.equal(server.count(`POST /v1/channels/${channel.channelId}/tools/${calls[0]?.callId}/decision`), 1);
    assert.deepEqual(errors, []);
  });
}

test("what is denied is output-denied, and the reply goes on", async (t) => {
  const { chat } = openTab(t, openChannel());
  await chat.sendMessage({ text: "Note it." });

  await chat.addToolApprovalResponse({ id: parts(chat)[0]?.approval?.id ?? "", approved: false });
  await eventually(() => chat.status === "ready" && states(chat)[0] === "output-denied");

  assert.equal(parts(chat)[0]?.approval?.reason, "Denied by alice.");
  assert.equal(text(chat), "I note it. It is done.");
});

test("what somebody else decides is seen by who watches, and is no answer of his", async (t) => {
  server.script = noting("anyone");
  const channel = openChannel();
  const { chat } = openTab(t, channel, { watch: true });
  await chat.sendMessage({ text: "Note it." });

  channel.decide("bob", calls[0]?.callId ?? "", { decision: "approve" });
  await eventually(() => states(chat)[0] === "output-available" && text(chat).endsWith("It is done."));

  assert.equal(parts(chat)[0]?.approval?.reason, "Approved by bob.");
  assert.equal(server.count(`POST /v1/channels/${channel.channelId}/tools/${calls[0]?.callId}/decision`), 0);
});

test("what another user answered in a message that was stored decides nothing", async (t) => {
  server.script = noting("anyone");
  const channel = openChannel();
  const bob = openTab(t, channel, { userId: "bob" });
  await bob.chat.sendMessage({ text: "Note it." });
  const stored = structuredClone(bob.chat.messages);
  for (const part of stored[1]?.parts ?? []) {
    if (isDynamicToolUIPart(part)) Object.assign(part, { state: "approval-responded", approval: { ...part.approval, approved: true } });
  }
  const { chat } = openTab(t, channel, { messages: stored });

  await chat.sendMessage();

  assert.equal(calls[0]?.isPending, true);
  assert.deepEqual(states(chat), ["approval-requested"]);
  assert.notEqual(parts(chat)[0]?.approval?.id, parts(bob.chat)[0]?.approval?.id);
});

test("arguments that were changed on the way are not approved", async (t) => {
  const { chat, errors } = openTab(t, openChannel());
  await chat.sendMessage({ text: "Note it." });
  for (const part of parts(chat)) part.input = { text: "something else" };

  await chat.addToolApprovalResponse({ id: parts(chat)[0]?.approval?.id ?? "", approved: true });
  await eventually(() => chat.status === "error");

  assert.equal(calls[0]?.isPending, true);
  assert.match(String(errors[0]?.message), /other arguments/);
});

test("who has not the right is told so, and is asked again", async (t) => {
  server.script = noting("owner");
  const channel = openChannel();
  const { chat, errors } = openTab(t, channel, { userId: "bob", watch: true });
  await chat.sendMessage({ text: "Note it." });

  await chat.addToolApprovalResponse({ id: parts(chat)[0]?.approval?.id ?? "", approved: true });
  await eventually(() => chat.status === "error");

  assert.match(String(errors[0]?.message), /Somebody else decides/);
  await eventually(() => states(chat)[0] === "approval-requested");
  assert.equal(calls[0]?.isPending, true);
});

test("one's own call of several is decided, though another waits for somebody else", async (t) => {
  server.script = noting("requester", "owner", "none");
  const channel = openChannel();
  const { chat, errors } = openTab(t, channel, { userId: "bob", watch: true });
  await chat.sendMessage({ text: "Note it." });
  assert.deepEqual(states(chat), ["approval-requested", "approval-requested", "approval-responded"]);

  await chat.addToolApprovalResponse({ id: parts(chat)[0]?.approval?.id ?? "", approved: true });
  await eventually(() => chat.status === "ready" && states(chat)[0] === "output-available");
  channel.decide("alice", calls[1]?.callId ?? "", { decision: "approve" });
  await eventually(() => text(chat).endsWith("It is done."));

  assert.deepEqual(states(chat), ["output-available", "output-available", "output-available"]);
  assert.deepEqual(errors, []);
});

test("a reply that waits is resumed, and its approval asked, after a reload", async (t) => {
  const channel = openChannel();
  channel.post("alice", { text: "Note it." });
  const { chat, transport } = openTab(t, channel);
  chat.messages = await transport.history(channel.channelId);
  assert.deepEqual(states(chat), ["approval-requested"]);

  await chat.resumeStream();
  await chat.addToolApprovalResponse({ id: parts(chat)[0]?.approval?.id ?? "", approved: true });
  await eventually(() => chat.status === "ready" && text(chat).endsWith("It is done."));

  assert.deepEqual(states(chat), ["output-available"]);
});

test("history tells of calls that are over, of failures, and of what is not known", async (t) => {
  server.script = async (reply) => {
    reply.ask("clock.now", {}, { approval: "none" }).finish("error", "no clock");
    reply.ask("mail.send", {}, { approval: "none" }).finish("unknown");
    const call = reply.ask("notes.add", { text: "x" });
    call.expire();
    reply.finish();
  };
  const channel = openChannel();
  channel.post("alice", { text: "Do it all." });
  const { chat, transport } = openTab(t, channel);

  chat.messages = await transport.history(channel.channelId);

  assert.deepEqual(states(chat), ["output-error", "output-error", "output-denied"]);
  const [failed, unknown, expired] = parts(chat);
  assert.equal(failed?.errorText, "no clock");
  assert.match(unknown?.errorText ?? "", /not known/);
  assert.equal(unknown?.toolMetadata?.outcome, "unknown");
  assert.equal(expired?.approval?.reason, "Nobody decided in time.");
});

test("a reply that begins anew keeps its calls", async (t) => {
  server.script = async (reply) => {
    reply.write("A first try");
    const call = reply.ask("notes.add", { text: "x" }, { approval: "none" });
    call.finish("ok", "noted");
    reply.restart("A second try");
    reply.finish();
  };
  const { chat } = openTab(t, openChannel());

  await chat.sendMessage({ text: "Note it." });

  assert.deepEqual(states(chat), ["output-available"]);
  assert.equal(text(chat), "A second try");
});

test("what is deleted empties the parts of who watches", async (t) => {
  const channel = openChannel();
  const { chat } = openTab(t, channel, { watch: true });
  await chat.sendMessage({ text: "Note it." });
  await chat.addToolApprovalResponse({ id: parts(chat)[0]?.approval?.id ?? "", approved: true });
  await eventually(() => chat.status === "ready" && states(chat)[0] === "output-available");

  channel.deleteMessage(1, userSender("alice"));

  await eventually(() => JSON.stringify(parts(chat)[0]?.input) === "{}");
  assert.equal(parts(chat)[0]?.output, "");
});
