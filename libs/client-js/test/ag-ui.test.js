import assert from "node:assert/strict";
import { afterEach, beforeEach, test } from "node:test";
import { setTimeout as sleep } from "node:timers/promises";

import { ChatBackendAgent } from "../src/ag-ui.js";
import { userSender } from "./support/fake-channel.js";
import { FakeServer, speak } from "./support/fake-server.js";
import { seededRandom } from "./support/random.js";
import { TIMING, webSocket } from "./support/sessions.js";
import { eventually } from "./support/waiting.js";

/**
 * @import { BaseEvent } from "@ag-ui/client"
 * @import { TestContext } from "node:test"
 * @import { FakeChannel, FakeReply } from "./support/fake-channel.js"
 */

const TEXT = "It is a reply of a few words.";

/** @type {FakeServer} */
let server;
/** What the client of AG-UI complains about without failing. @type {string[]} */
let warnings;
const warn = console.warn;

beforeEach(async () => {
  server = await FakeServer.start();
  server.script = speak(TEXT);
  warnings = [];
  console.warn = (...words) => warnings.push(words.join(" "));
});
afterEach(async () => {
  console.warn = warn;
  await server.stop();
  assert.deepEqual(warnings, []);
});

/**
 * @param {TestContext} t
 * @param {FakeChannel} channel
 * @param {{userId?: string}} [options]
 */
function openAgent(t, channel, { userId = "alice" } = {}) {
  const agent = new ChatBackendAgent({
    ...server.optionsOf(userId),
    webSocket,
    timing: TIMING,
    threadId: channel.channelId,
  });
  /** @type {(BaseEvent & Record<string, any>)[]} */
  const events = [];
  agent.subscribe({ onEvent: ({ event }) => void events.push(event) });
  t.after(() => agent.close());
  return { agent, events };
}

/** @param {ChatBackendAgent} agent @param {string} content */
function say(agent, content, id = `m${agent.messages.length}.${Math.round(performance.now() * 1000)}`) {
  agent.addMessage({ id, role: "user", content });
}

/** @param {ChatBackendAgent} agent */
const contents = (agent) => agent.messages.map(({ content }) => content);

/** @param {BaseEvent[]} events */
const types = (events) => events.map(({ type }) => type);

/** Scripts that the test goes on with itself. */
function manual() {
  /** @type {FakeReply[]} */
  const replies = [];
  server.script = async (reply) => void replies.push(reply);
  return replies;
}

test("a run posts what the user said, and tells the reply", async (t) => {
  const channel = server.createChannel({ agent: { mode: "always" } });
  const { agent, events } = openAgent(t, channel);
  say(agent, "Hello?", "question-1");

  await agent.runAgent({ runId: "run-1" });

  assert.equal(channel.log[0]?.clientMessageId, "question-1");
  assert.deepEqual(contents(agent), ["Hello?", TEXT]);
  assert.equal(agent.messages[0]?.id, "question-1");
  assert.equal(agent.messages[0]?.metadata?.seq, 1);
  assert.equal(agent.messages[1]?.metadata?.seq, 2);
  const told = types(events).filter((type) => type !== "TEXT_MESSAGE_CONTENT");
  assert.deepEqual(told, [
    "RUN_STARTED",
    "MESSAGES_SNAPSHOT",
    "TEXT_MESSAGE_START",
    "TEXT_MESSAGE_END",
    "MESSAGES_SNAPSHOT",
    "RUN_FINISHED",
  ]);
  assert.equal(events[0]?.protocolVersion, "1.0");
  const end = events.at(-1);
  assert.deepEqual([end?.runId, end?.threadId], ["run-1", channel.channelId]);
  assert.equal(end?.outcome.type, "success");
  assert.equal(end?.usage[0].model, "demo");
});

test("a run's first snapshot holds what the room said before", async (t) => {
  const channel = server.createChannel({ agent: { mode: "off" } });
  channel.post("bob", { text: "I was here first." });
  const { agent } = openAgent(t, channel);
  say(agent, "And I come now.");

  await agent.runAgent();

  assert.deepEqual(contents(agent), ["I was here first.", "And I come now."]);
  assert.equal(agent.messages[0]?.metadata?.sender.id, "bob");
});

test("messages that are not the room's stay where the application has put them", async (t) => {
  const channel = server.createChannel({ agent: { mode: "always" } });
  const { agent } = openAgent(t, channel);
  agent.addMessage({ id: "d1", role: "developer", content: "of the application" });
  say(agent, "Hello?");

  await agent.runAgent();

  assert.ok(contents(agent).includes("of the application"));
  assert.equal(channel.log.length, 2);
});

test("abortRun ends the reply for everybody, and the run is cancelled", async (t) => {
  const channel = server.createChannel({ agent: { mode: "always" } });
  const replies = manual();
  const { agent, events } = openAgent(t, channel);
  say(agent, "Hello?");
  const run = agent.runAgent();
  await eventually(() => replies.length === 1);
  replies[0]?.write("I was ");
  await eventually(() => contents(agent)[1] === "I was ");

  agent.abortRun();
  await run;

  assert.equal(channel.log.at(-1)?.data.finishReason, "cancelled");
  assert.equal(events.at(-1)?.outcome.type, "cancelled");
  assert.deepEqual(contents(agent), ["Hello?", "I was "]);
});

test("abortRun before the message is there cancels the run, and the reply", async (t) => {
  const channel = server.createChannel({ agent: { mode: "always" } });
  manual();
  const { agent, events } = openAgent(t, channel);
  say(agent, "Hello?");
  const run = agent.runAgent();

  agent.abortRun();
  await run;

  assert.equal(events.at(-1)?.outcome.type, "cancelled");
});

test("a reply that fails is the run's error", async (t) => {
  const channel = server.createChannel({ agent: { mode: "always" } });
  server.script = async (reply) => {
    reply.write("I was ");
    reply.fail("timeout");
  };
  const { agent, events } = openAgent(t, channel);
  say(agent, "Hello?");

  await agent.runAgent();

  assert.deepEqual([events.at(-1)?.type, events.at(-1)?.code], ["RUN_ERROR", "timeout"]);
  assert.equal(events.at(-1)?.message, "The model took too long to answer.");
});

test("a message that is refused is the run's error", async (t) => {
  const channel = server.createChannel({ agent: { mode: "always" } });
  server.refuse("ws sendmessage", 422);
  const { agent, events } = openAgent(t, channel);
  say(agent, "Hello?");

  await agent.runAgent();

  assert.deepEqual([events.at(-1)?.type, events.at(-1)?.code], ["RUN_ERROR", "422"]);
});

test("a run with nothing new to say asks for another reply", async (t) => {
  const channel = server.createChannel({ agent: { mode: "always" } });
  const { agent } = openAgent(t, channel);
  say(agent, "Hello?");
  await agent.runAgent();
  server.script = speak("Another one.");

  await agent.runAgent();

  assert.deepEqual(contents(agent), ["Hello?", "Another one."]);
  assert.equal(channel.log.at(-1)?.data.generation, 2);
});

test("a reply that is begun anew is told as it ends", async (t) => {
  const channel = server.createChannel({ agent: { mode: "always" } });
  const replies = manual();
  const { agent } = openAgent(t, channel);
  say(agent, "Hello?");
  const run = agent.runAgent();
  await eventually(() => replies.length === 1);

  replies[0]?.write("A first try");
  await eventually(() => contents(agent)[1] === "A first try");
  replies[0]?.restart("A second");
  await eventually(() => contents(agent)[1] === "A second");
  replies[0]?.write(" try");
  await eventually(() => contents(agent)[1] === "A second try");
  replies[0]?.finish();
  await run;

  assert.deepEqual(contents(agent), ["Hello?", "A second try"]);
});

test("connectAgent tells the history, and a reply in its middle until it ends", async (t) => {
  const channel = server.createChannel({ agent: { mode: "always" } });
  const replies = manual();
  channel.post("bob", { text: "Hello?" });
  replies[0]?.write("half of ");
  const { agent } = openAgent(t, channel);

  const run = agent.connectAgent();
  await eventually(() => contents(agent).join() === "Hello?,half of ");
  replies[0]?.write("it");
  replies[0]?.finish();
  await run;

  assert.deepEqual(contents(agent), ["Hello?", "half of it"]);
  assert.equal(agent.messages[1]?.metadata?.seq, 2);
});

test("who watches sees another member's run as it goes", async (t) => {
  const channel = server.createChannel({ agent: { mode: "always" } });
  const replies = manual();
  const asking = openAgent(t, channel, { userId: "bob" });
  const watching = openAgent(t, channel);
  t.after(watching.agent.watch());
  say(asking.agent, "Bob asks");
  const run = asking.agent.runAgent();
  await eventually(() => replies.length === 1);

  replies[0]?.write("one ");
  await eventually(() => contents(watching.agent).join() === "Bob asks,one ");
  replies[0]?.write("two");
  await eventually(() => contents(watching.agent).join() === "Bob asks,one two");
  replies[0]?.finish();
  await run;

  await eventually(() => !watching.agent.isRunning);
  assert.equal(watching.agent.messages[1]?.metadata?.seq, 2);
  assert.ok(types(watching.events).includes(/** @type {any} */ ("TEXT_MESSAGE_CONTENT")));
});

test("who watches sees messages, edits and deletions of others between the runs", async (t) => {
  const channel = server.createChannel({ agent: { mode: "off" } });
  const { agent } = openAgent(t, channel);
  t.after(agent.watch());

  channel.post("bob", { text: "first" });
  channel.post("bob", { text: "second" });
  await eventually(() => contents(agent).join() === "first,second");
  channel.append("message.edited", userSender("bob"), { target: 1, text: "1st" });
  channel.deleteMessage(2, userSender("bob"));

  await eventually(() => contents(agent).join() === "1st");
});

test("one's own run comes before another's that is being watched, which is taken up after it", async (t) => {
  const channel = server.createChannel({ agent: { mode: "always" } });
  const replies = manual();
  const { agent, events } = openAgent(t, channel);
  t.after(agent.watch());
  channel.post("bob", { text: "Bob asks" });
  replies[0]?.write("for bob ");
  await eventually(() => contents(agent).join() === "Bob asks,for bob ");

  say(agent, "I ask");
  const run = agent.runAgent({ runId: "mine" });
  await eventually(() => replies.length === 2);
  replies[0]?.write("but not ");
  replies[1]?.write("for me");
  replies[1]?.finish();
  await run;
  const mine = events.slice(events.findIndex(({ runId }) => runId === "mine"));
  const told = mine.filter(({ type }) => type === "TEXT_MESSAGE_CONTENT").map(({ delta }) => delta);
  replies[0]?.write("at last");
  replies[0]?.finish();

  await eventually(() => contents(agent).join() === "Bob asks,I ask,for me,for bob but not at last");
  assert.deepEqual(told, ["for me"]);
});

test("what others say while a reply is told is in the room's order at its end", async (t) => {
  const channel = server.createChannel({ agent: { mode: "always" } });
  const replies = manual();
  const { agent } = openAgent(t, channel);
  say(agent, "I ask");
  const run = agent.runAgent();
  await eventually(() => replies.length === 1);
  replies[0]?.write("for ");
  await eventually(() => contents(agent).length === 2);

  channel.append("message.created", userSender("bob"), { text: "Bob says" });
  replies[0]?.write("me");
  replies[0]?.finish();
  await run;

  assert.deepEqual(contents(agent), ["I ask", "Bob says", "for me"]);
});

test("a clone is an agent of the same room", async (t) => {
  const channel = server.createChannel({ agent: { mode: "always" } });
  const { agent } = openAgent(t, channel);
  const clone = agent.clone();
  say(clone, "Hello?");

  await clone.runAgent();

  assert.deepEqual(contents(clone), ["Hello?", TEXT]);
  assert.deepEqual(contents(agent), []);
});

const REPLIES = 200;
const KINDS = /** @type {const} */ (["plain", "cut", "cancelled", "failed", "regenerated", "restarted"]);

test(`${REPLIES} replies of all kinds: the verifier has no complaint, and the agent holds what the log says`, async (t) => {
  const random = seededRandom(20);
  const pick = (/** @type {number} */ count) => Math.floor(random() * count);
  const channel = server.createChannel({ agent: { mode: "always" } });
  const { agent, events } = openAgent(t, channel);
  /** @type {Map<string, number>} */
  const told = new Map();

  for (let number = 1; number <= REPLIES; number += 1) {
    const kind = KINDS[pick(KINDS.length)] ?? "plain";
    told.set(kind, (told.get(kind) ?? 0) + 1);
    const words = Array.from({ length: 1 + pick(8) }, (_, index) => `word${index} `);
    const at = pick(words.length + 1);
    server.script = async (reply) => {
      for (const [index, word] of words.entries()) {
        if (index === at) await happen(kind, reply);
        reply.write(word);
        if (random() < 0.3) await sleep(1);
      }
      if (at === words.length) await happen(kind, reply);
      reply.finish();
    };
    if (kind !== "regenerated" || agent.messages.length === 0) say(agent, `question ${number}`, `q${number}`);

    await agent.runAgent({ runId: `run-${number}` });

    await eventually(() => channel.replies.every(({ isOpen }) => !isOpen));
    const last = events.at(-1);
    const log = channel.log.at(-1);
    if (log?.type === "agent.failed") assert.equal(last?.type, "RUN_ERROR");
    else {
      assert.equal(last?.type, "RUN_FINISHED");
      const wasCancelled = log?.data.finishReason === "cancelled";
      assert.equal(last?.outcome.type, wasCancelled ? "cancelled" : "success");
      if (!wasCancelled) assert.equal(agent.messages.at(-1)?.content, log?.data.text);
    }
  }

  assert.equal(told.size, KINDS.length);
  await agent.connectAgent();
  const newest = channel.messages().filter(({ replyTo, generation }, _, all) =>
    !all.some((other) => other.replyTo === replyTo && Number(other.generation) > Number(generation)),
  );
  const held = agent.messages.filter(({ metadata }) => metadata?.seq !== undefined);
  assert.deepEqual(held.slice(-90).map(({ content }) => content), newest.slice(-90).map(({ text }) => text));

  /**
   * @param {typeof KINDS[number]} kind
   * @param {FakeReply} reply
   */
  async function happen(kind, reply) {
    if (kind === "cut") server.cut();
    if (kind === "failed") reply.fail("model_error");
    if (kind === "restarted") reply.restart("anew ");
    if (kind === "cancelled") {
      agent.abortRun();
      await eventually(() => !reply.isOpen);
    }
  }
});
