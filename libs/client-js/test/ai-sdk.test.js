import assert from "node:assert/strict";
import { afterEach, beforeEach, test } from "node:test";
import { setTimeout as sleep } from "node:timers/promises";

import { Chat } from "@ai-sdk/react";

import { ChatBackendTransport } from "../src/ai-sdk.js";
import { textOf } from "../src/ui-messages.js";
import { userSender } from "./support/fake-channel.js";
import { FakeServer, speak } from "./support/fake-server.js";
import { TIMING, webSocket } from "./support/sessions.js";
import { collect, eventually } from "./support/waiting.js";

/**
 * @import { TestContext } from "node:test"
 * @import { ChatUIMessage } from "../src/ui-messages.js"
 * @import { FakeChannel, FakeReply } from "./support/fake-channel.js"
 */

const TEXT = "It is a long reply, in words and more words, and it ends here.";

/** @type {FakeServer} */
let server;

beforeEach(async () => {
  server = await FakeServer.start();
  server.script = speak(TEXT);
});
afterEach(() => server.stop());

/**
 * @param {TestContext} t
 * @param {{userId?: string, patience?: number}} [options]
 */
function openTransport(t, { userId = "alice", patience } = {}) {
  const transport = new ChatBackendTransport({
    ...server.optionsOf(userId),
    webSocket,
    timing: TIMING,
    patience,
  });
  t.after(() => transport.close());
  return transport;
}

/**
 * A tab: a chat of the published SDK on a transport of its own.
 *
 * @param {TestContext} t
 * @param {FakeChannel} channel
 * @param {{userId?: string, messages?: ChatUIMessage[], watch?: boolean, patience?: number}} [options]
 */
function openTab(t, channel, { messages, watch = false, ...options } = {}) {
  const transport = openTransport(t, options);
  /** @type {Error[]} */
  const errors = [];
  const id = channel.channelId;
  /** @type {Chat<ChatUIMessage>} */
  const chat = new Chat({ id, transport, messages, onError: (error) => errors.push(error) });
  if (watch) {
    const stop = transport.watch(id, (update) => {
      chat.messages = update(chat.messages);
    });
    t.after(stop);
  }
  return { chat, transport, errors };
}

function openChannel(agent = { mode: "always" }) {
  return server.createChannel({ agent });
}

/** @param {Chat<ChatUIMessage>} chat */
const texts = (chat) => chat.messages.map((message) => textOf(message));

/**
 * A script that waits before each word until it is let go on.
 *
 * @param {string} text
 */
function stepwise(text) {
  const words = text.match(/\S+\s*/g) ?? [];
  /** @type {FakeReply[]} */
  const replies = [];
  return {
    words,
    script: async (/** @type {FakeReply} */ reply) => void replies.push(reply),
    get reply() {
      const reply = replies.at(-1);
      assert.ok(reply);
      return reply;
    },
    replies,
  };
}

test("a message is posted with its id, and the reply streams", async (t) => {
  const channel = openChannel();
  const { chat } = openTab(t, channel);

  await chat.sendMessage({ text: "Hello?" });

  const [question, reply] = chat.messages;
  assert.equal(channel.log[0]?.clientMessageId, question?.id);
  assert.deepEqual(texts(chat), ["Hello?", TEXT]);
  assert.equal(chat.status, "ready");
  assert.deepEqual(reply?.metadata?.seq, 2);
  assert.deepEqual(reply?.metadata?.sender?.id, "#agent");
  assert.equal(reply?.metadata?.usage?.outputTokens, TEXT.length);
  assert.equal(reply?.metadata?.createdAt, channel.log[1]?.createdAt);
});

test("the reply is seen while it is written", async (t) => {
  const channel = openChannel();
  const steps = stepwise("one two three");
  server.script = steps.script;
  const { chat } = openTab(t, channel);
  const sent = chat.sendMessage({ text: "Count." });
  await eventually(() => steps.replies.length === 1);

  steps.reply.write("one ");
  await eventually(() => texts(chat)[1] === "one ");
  assert.equal(chat.status, "streaming");
  steps.reply.write("two");
  await eventually(() => texts(chat)[1] === "one two");
  steps.reply.finish();
  await sent;

  assert.equal(chat.status, "ready");
});

test("a message carries metadata and replyTo", async (t) => {
  const channel = openChannel({ mode: "off" });
  channel.post("bob", { text: "first" });
  const { chat } = openTab(t, channel);

  await chat.sendMessage({ text: "yes" }, { metadata: { mood: "good" }, body: { replyTo: 1 } });

  assert.deepEqual(channel.log[1]?.data, { text: "yes", replyTo: 1, metadata: { mood: "good" } });
});

test("where the agent is off, the chat is ready at once", async (t) => {
  const { chat } = openTab(t, openChannel({ mode: "off" }));

  await chat.sendMessage({ text: "Nobody here?" });

  assert.equal(chat.status, "ready");
  assert.deepEqual(texts(chat), ["Nobody here?"]);
});

test("in mode mention the chat waits for a reply to a mention alone", async (t) => {
  const channel = openChannel({ mode: "mention" });
  const { chat } = openTab(t, channel);

  await chat.sendMessage({ text: "mail me at x@agents.example" });
  assert.equal(chat.status, "ready");
  const sent = chat.sendMessage({ text: "What do you say, @Agent?" });
  await eventually(() => channel.lastSeq === 2);
  assert.equal(chat.status, "submitted");
  channel.answer(/** @type {any} */ (channel.log[1]));
  await sent;

  assert.deepEqual(texts(chat).at(-1), TEXT);
});

test("a reply that nobody writes is not waited for", async (t) => {
  const channel = openChannel();
  channel.agent.mode = "always";
  server.script = async (reply) => {
    reply.isOpen = false; // the agent was switched off meanwhile
  };
  const { chat } = openTab(t, channel, { patience: 20 });

  await chat.sendMessage({ text: "Hello?" });

  assert.equal(chat.status, "ready");
});

test("a message that is sent again is posted once", async (t) => {
  const channel = openChannel();
  const { chat, transport } = openTab(t, channel);
  await chat.sendMessage({ text: "Once." });
  const [question] = chat.messages;
  assert.ok(question);

  const stream = await transport.sendMessages({
    trigger: "submit-message",
    chatId: channel.channelId,
    messageId: undefined,
    messages: [question],
    abortSignal: undefined,
  });

  const chunks = await collect(stream);
  assert.equal(channel.log.filter(({ sender }) => sender.kind === "user").length, 1);
  for (const chunk of chunks) assert.notEqual(chunk.type, "error");
});

test("a message that was posted before the page was opened is one message when it is sent again", async (t) => {
  const channel = openChannel({ mode: "off" });
  channel.post("alice", { text: "Once.", clientMessageId: "once" });
  const parts = [{ type: /** @type {const} */ ("text"), text: "Once." }];
  const messages = [{ id: "once", role: /** @type {const} */ ("user"), parts }];
  const { chat, transport } = openTab(t, channel, { messages, watch: true });

  const chatId = channel.channelId;
  const trigger = "submit-message";
  await transport.sendMessages({ trigger, chatId, messageId: undefined, messages, abortSignal: undefined });

  await eventually(() => chat.messages.length === 1);
  assert.equal(chat.messages[0]?.id, "once");
  assert.equal(chat.messages[0]?.metadata?.seq, 1);
});

test("regenerate replaces the reply by the next generation", async (t) => {
  const channel = openChannel();
  const { chat } = openTab(t, channel, { watch: true });
  await chat.sendMessage({ text: "Hello?" });
  server.script = speak("Another one.");

  await chat.regenerate();

  await eventually(() => texts(chat).length === 2);
  assert.deepEqual(texts(chat), ["Hello?", "Another one."]);
  assert.equal(chat.messages[1]?.metadata?.generation, 2);
});

test("regenerate of an earlier reply asks for that one", async (t) => {
  const channel = openChannel();
  const { chat } = openTab(t, channel);
  await chat.sendMessage({ text: "First?" });
  await chat.sendMessage({ text: "Second?" });
  server.script = speak("Better.");

  await chat.regenerate({ messageId: chat.messages[1]?.id });

  assert.equal(channel.log.at(-1)?.data.replyTo, 1);
  assert.deepEqual(texts(chat), ["First?", "Better."]);
});

test("a message that is edited in place is edited in the room and answered anew", async (t) => {
  const channel = openChannel();
  const { chat } = openTab(t, channel);
  await chat.sendMessage({ text: "Helo?" });
  server.script = speak("Hello to you.");

  await chat.sendMessage({ text: "Hello?", messageId: chat.messages[0]?.id });

  assert.equal(channel.messages()[0]?.text, "Hello?");
  assert.deepEqual(texts(chat), ["Hello?", "Hello to you."]);
});

test("stop ends the reply for both tabs", async (t) => {
  const channel = openChannel();
  const steps = stepwise("one two three");
  server.script = steps.script;
  const first = openTab(t, channel);
  const second = openTab(t, channel, { watch: true });
  const sent = first.chat.sendMessage({ text: "Count." });
  await eventually(() => steps.replies.length === 1);
  steps.reply.write("one ");
  const resumed = second.chat.resumeStream();
  await eventually(() => second.chat.status === "streaming");

  const stoppedAt = performance.now();
  await second.chat.stop();
  await Promise.all([sent, resumed]);

  assert.ok(performance.now() - stoppedAt < 2_000);
  assert.equal(first.chat.status, "ready");
  assert.equal(second.chat.status, "ready");
  assert.deepEqual(texts(first.chat), ["Count.", "one "]);
  assert.equal(first.chat.messages[1]?.metadata?.finishReason, "cancelled");
  await eventually(() => second.chat.messages.at(-1)?.metadata?.finishReason === "cancelled");
});

test("stop before the message is there ends its reply too", async (t) => {
  const channel = openChannel();
  server.script = async (reply) => reply.write("never ending ");
  const { chat, transport } = openTab(t, channel);
  await transport.history(channel.channelId);
  server.deafTo.add("sendmessage");
  const sent = chat.sendMessage({ text: "Never mind." });
  await eventually(() => server.count("ws sendmessage") === 1);

  await chat.stop();
  server.deafTo.clear();
  server.cut();
  await sent;

  await eventually(() => channel.log.at(-1)?.data.finishReason === "cancelled");
});

test("where stop is not to end the reply, it goes on for the others", async (t) => {
  const channel = openChannel();
  const steps = stepwise("one two");
  server.script = steps.script;
  const { chat, transport } = openTab(t, channel);
  transport.stopOnAbort = false;
  const sent = chat.sendMessage({ text: "Count." });
  await eventually(() => steps.replies.length === 1);
  steps.reply.write("one ");
  await eventually(() => texts(chat)[1] === "one ");

  await chat.stop();
  await sent;
  await transport.session.rest.getMe(); // a call after the one that would have ended it
  steps.reply.finish();

  assert.equal(channel.log.at(-1)?.data.finishReason, "stop");
});

const WORDS = TEXT.match(/\S+\s*/g) ?? [];

for (let cutAfter = 0; cutAfter <= WORDS.length; cutAfter += 1) {
  test(`cut after chunk ${cutAfter}, the reply ends as the final event has it`, async (t) => {
    const channel = openChannel();
    const steps = stepwise(TEXT);
    server.script = steps.script;
    const { chat, errors } = openTab(t, channel);
    const sent = chat.sendMessage({ text: "Tell." });
    await eventually(() => steps.replies.length === 1);

    for (const [index, word] of WORDS.entries()) {
      if (index === cutAfter) server.cut();
      steps.reply.write(word);
      if (index % 3 === 0) await sleep(1);
    }
    if (cutAfter === WORDS.length) server.cut();
    steps.reply.finish();
    await sent;

    assert.deepEqual(errors, []);
    assert.deepEqual(texts(chat), ["Tell.", TEXT]);
  });

  test(`reloaded after chunk ${cutAfter}, the page resumes the reply as the final event has it`, async (t) => {
    const channel = openChannel();
    const steps = stepwise(TEXT);
    server.script = steps.script;
    const before = openTab(t, channel);
    const sent = before.chat.sendMessage({ text: "Tell." });
    await eventually(() => steps.replies.length === 1);
    for (const word of WORDS.slice(0, cutAfter)) steps.reply.write(word);
    if (cutAfter > 0) await eventually(() => texts(before.chat).length === 2);
    before.transport.close();
    await sent;

    const transport = openTransport(t);
    const messages = await transport.history(channel.channelId);
    const after = openTab(t, channel, { messages, watch: true });
    const resumed = after.chat.resumeStream();
    await eventually(() => after.chat.status !== "ready");
    for (const word of WORDS.slice(cutAfter)) steps.reply.write(word);
    steps.reply.finish();
    await resumed;

    assert.deepEqual(texts(after.chat), ["Tell.", TEXT]);
    assert.equal(after.chat.messages[1]?.metadata?.seq, 2);
  });
}

test("a reply that is begun anew is shown as it ends", async (t) => {
  const channel = openChannel();
  const steps = stepwise("");
  server.script = steps.script;
  const { chat } = openTab(t, channel);
  const sent = chat.sendMessage({ text: "Tell." });
  await eventually(() => steps.replies.length === 1);

  steps.reply.write("A first try");
  await eventually(() => texts(chat)[1] === "A first try");
  steps.reply.restart("A second");
  await eventually(() => texts(chat)[1] === "A second");
  steps.reply.write(" try");
  steps.reply.finish();
  await sent;

  assert.deepEqual(texts(chat), ["Tell.", "A second try"]);
});

test("resume finds nothing where no reply is being written", async (t) => {
  const { chat } = openTab(t, openChannel());

  await chat.resumeStream();

  assert.equal(chat.status, "ready");
  assert.deepEqual(chat.messages, []);
});

test("a page that mounts, unmounts and mounts again resumes, and ends no reply", async (t) => {
  const channel = openChannel();
  const steps = stepwise("one two");
  server.script = steps.script;
  channel.post("alice", { text: "Count." });
  steps.reply.write("one ");
  const { chat } = openTab(t, channel);

  const first = chat.resumeStream();
  const stopped = chat.stop();
  const second = chat.resumeStream();
  await Promise.all([first, stopped]);
  await eventually(() => texts(chat)[0] === "one ");

  assert.equal(steps.reply.isOpen, true);
  steps.reply.finish();
  await second;
});

test("an idle tab that watches sees the question, and the reply as it is written", async (t) => {
  const channel = openChannel();
  const steps = stepwise("one two");
  server.script = steps.script;
  const asking = openTab(t, channel);
  const idle = openTab(t, channel, { watch: true });
  const sent = asking.chat.sendMessage({ text: "Count." });
  await eventually(() => steps.replies.length === 1);

  steps.reply.write("one ");
  await eventually(() => texts(idle.chat).join() === "Count.,one ");
  steps.reply.write("two");
  steps.reply.finish();
  await sent;

  await eventually(() => idle.chat.messages[1]?.metadata?.seq === 2);
  assert.deepEqual(texts(idle.chat), ["Count.", "one two"]);
  assert.equal(idle.chat.status, "ready");
});

test("what others say appears while one's own reply streams, in the room's order", async (t) => {
  const channel = openChannel();
  const steps = stepwise("mine");
  server.script = steps.script;
  const { chat } = openTab(t, channel, { watch: true });
  const sent = chat.sendMessage({ text: "My question" });
  await eventually(() => steps.replies.length === 1);
  const [mine] = steps.replies;
  mine?.write("mi");
  await eventually(() => texts(chat).length === 2);

  channel.post("bob", { text: "Bob's question" });
  steps.replies[1]?.write("for bob");
  await eventually(() => texts(chat).length === 4);
  mine?.write("ne");
  mine?.finish();
  await sent;
  steps.replies[1]?.finish();

  await eventually(() => chat.messages[3]?.metadata?.seq === 4);
  assert.deepEqual(texts(chat), ["My question", "Bob's question", "mine", "for bob"]);
  assert.equal(chat.messages[1]?.metadata?.sender?.id, "bob");
  assert.equal(chat.messages[0]?.metadata?.seq, 1);
});

test("edits and deletions of others appear, and what is not posted yet stays", async (t) => {
  const channel = openChannel({ mode: "off" });
  channel.post("bob", { text: "first" });
  channel.post("bob", { text: "second" });
  const { chat } = openTab(t, channel, { watch: true });
  await eventually(() => chat.messages.length === 2);
  server.deafTo.add("sendmessage");
  const sent = chat.sendMessage({ text: "not there yet" });

  channel.append("message.edited", userSender("bob"), { target: 1, text: "1st" });
  channel.deleteMessage(2, userSender("bob"));
  await eventually(() => texts(chat).join() === "1st,not there yet");
  server.deafTo.clear();
  server.cut();
  await sent;

  await eventually(() => chat.messages[1]?.metadata?.seq === 5);
  assert.deepEqual(texts(chat), ["1st", "not there yet"]);
});

test("nothing changes the list when nothing changed", async (t) => {
  const channel = openChannel({ mode: "off" });
  channel.post("bob", { text: "first" });
  const { chat, transport } = openTab(t, channel, { watch: true });
  await eventually(() => chat.messages.length === 1);
  const before = chat.messages;
  /** @type {boolean[]} */
  const same = [];

  const stop = transport.watch(channel.channelId, (update) => same.push(update(before) === before));
  await eventually(() => same.length > 0);
  stop();

  assert.deepEqual(same, [true]);
});

test("a refusal is the chat's error", async (t) => {
  const channel = openChannel();
  server.refuse("ws sendmessage", 422);
  const { chat, errors } = openTab(t, channel);

  await chat.sendMessage({ text: "Refused?" });

  assert.equal(chat.status, "error");
  assert.equal(chat.error?.message, "Refused with 422.");
  assert.equal(errors.length, 1);
});

test("a channel that is none of the user's is the chat's error", async (t) => {
  const channel = server.createChannel({ owner: "bob", members: [] });
  const { chat } = openTab(t, channel);

  await chat.sendMessage({ text: "Let me in." });

  assert.match(String(chat.error?.message), /no such channel/);
});

test("a reply that fails is the chat's error, in words", async (t) => {
  const channel = openChannel();
  server.script = async (reply) => {
    reply.write("I was ");
    reply.fail("throttled");
  };
  const { chat } = openTab(t, channel);

  await chat.sendMessage({ text: "Hello?" });

  assert.equal(chat.status, "error");
  assert.equal(chat.error?.message, "The model is busy. Try again in a moment.");
});

test("being removed in the middle of a reply is the chat's error", async (t) => {
  const channel = openChannel();
  const steps = stepwise("one");
  server.script = steps.script;
  const { chat } = openTab(t, channel, { userId: "bob" });
  const sent = chat.sendMessage({ text: "Hello?" });
  await eventually(() => steps.replies.length === 1);
  steps.reply.write("one");
  await eventually(() => texts(chat).length === 2);

  channel.removeMember("bob");
  await sent;

  assert.equal(chat.status, "error");
});

test("history is the room's messages, the newest reply to each question", async (t) => {
  const channel = openChannel();
  const { event } = channel.post("bob", { text: "Hello?" });
  await eventually(() => channel.lastSeq === 2);
  channel.regenerate(2);
  await eventually(() => channel.lastSeq === 3);
  channel.append("message.edited", userSender("bob"), { target: event.seq, text: "Hello!" });
  const transport = openTransport(t);

  const history = await transport.history(channel.channelId);

  assert.deepEqual(history.map((message) => [message.role, textOf(message), message.metadata?.seq]), [
    ["user", "Hello!", 1],
    ["assistant", TEXT, 3],
  ]);
  assert.equal(history[1]?.metadata?.generation, 2);
  assert.deepEqual((await transport.history(channel.channelId, { before: 3 })).map(textOf), ["Hello!"]);
});

test("older history that the page has loaded stays where it is", async (t) => {
  const channel = openChannel({ mode: "off" });
  for (let number = 1; number <= 130; number += 1) channel.post("bob", { text: `${number}` });
  const { chat, transport } = openTab(t, channel, { watch: true });
  await eventually(() => chat.messages.length === 100);

  const older = await transport.history(channel.channelId, { before: 31, limit: 30 });
  chat.messages = [...older, ...chat.messages];
  channel.post("bob", { text: "131" });
  await eventually(() => chat.messages.length === 131);

  assert.deepEqual(texts(chat), Array.from({ length: 131 }, (_, index) => `${index + 1}`));
});

test("what is no message of the user is refused", async (t) => {
  const channel = openChannel();
  const { chat } = openTab(t, channel);
  const url = "data:text/plain,x";

  await chat.sendMessage({ text: "x", files: [{ type: "file", mediaType: "text/plain", url }] });

  assert.equal(chat.error?.message, "Files cannot be sent.");
});
