import assert from "node:assert/strict";
import { afterEach, beforeEach, test } from "node:test";
import { setTimeout as sleep } from "node:timers/promises";

import { buildResumeArray } from "@ag-ui/client";

import { ChatBackendAgent } from "../src/ag-ui.js";
import { userSender } from "./support/fake-channel.js";
import { FakeServer } from "./support/fake-server.js";
import { seededRandom } from "./support/random.js";
import { TIMING, webSocket } from "./support/sessions.js";
import { eventually } from "./support/waiting.js";

/**
 * @import { BaseEvent } from "@ag-ui/client"
 * @import { TestContext } from "node:test"
 * @import { ApprovalRule } from "../src/wire.js"
 * @import { FakeCall } from "./support/fake-call.js"
 * @import { FakeChannel, FakeReply } from "./support/fake-channel.js"
 */

/** @type {FakeServer} */
let server;
/** @type {FakeCall[]} */
let calls;
/** What the client of AG-UI complains about without failing. @type {string[]} */
let warnings;
const warn = console.warn;

beforeEach(async () => {
  server = await FakeServer.start();
  calls = [];
  server.script = noting("requester");
  warnings = [];
  console.warn = (...words) => warnings.push(words.join(" "));
});
afterEach(async () => {
  console.warn = warn;
  await server.stop();
  assert.deepEqual(warnings, []);
});

/** @param {...ApprovalRule} rules One call each. */
function noting(...rules) {
  return async (/** @type {FakeReply} */ reply) => {
    reply.write("I note it. ");
    const asked = rules.map((approval, index) => reply.ask("notes.add", { text: `note ${index}` }, { approval }));
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
 * @param {{userId?: string}} [options]
 */
function openAgent(t, channel, { userId = "alice" } = {}) {
  const options = { ...server.optionsOf(userId), webSocket, timing: TIMING, settling: 5 };
  const agent = new ChatBackendAgent({ ...options, threadId: channel.channelId });
  /** @type {(BaseEvent & Record<string, any>)[]} */
  const events = [];
  agent.subscribe({ onEvent: ({ event }) => void events.push(event) });
  t.after(() => agent.close());
  return { agent, events };
}

const openChannel = () => server.createChannel({ agent: { mode: "always", tools: ["notes.*"] } });

/** @param {ChatBackendAgent} agent @param {string} content @param {string} id */
const say = (agent, content, id) => agent.addMessage({ id, role: "user", content });

/** @param {ChatBackendAgent} agent @param {boolean} approved */
function answers(agent, approved) {
  const responses = agent.pendingInterrupts.map(({ id }) => [id, { status: "resolved", payload: { approved } }]);
  return buildResumeArray(agent.pendingInterrupts, Object.fromEntries(responses));
}

/** @param {ChatBackendAgent} agent */
const roles = (agent) => agent.messages.map(({ role }) => role);

test("a call that waits ends the run with an interrupt, and its answer is the user's decision", async (t) => {
  const { agent, events } = openAgent(t, openChannel());
  say(agent, "Note it.", "q1");

  await agent.runAgent();
  const [interrupt] = agent.pendingInterrupts;
  const told = events.map(({ type }) => type).filter((type) => type.startsWith("TOOL"));
  await agent.runAgent({ resume: answers(agent, true) });

  assert.deepEqual(told, ["TOOL_CALL_START", "TOOL_CALL_ARGS", "TOOL_CALL_END"]);
  assert.deepEqual([interrupt?.reason, interrupt?.toolCallId], ["tool_call", calls[0]?.callId]);
  assert.deepEqual(interrupt?.metadata?.arguments, { text: "note 0" });
  assert.equal(calls[0]?.decided?.sender.id, "alice");
  assert.deepEqual(roles(agent), ["user", "assistant", "tool"]);
  const [, reply, result] = agent.messages;
  assert.equal(reply?.content, "I note it. It is done.");
  assert.ok(reply?.role === "assistant");
  assert.deepEqual(reply.toolCalls?.[0]?.function, { name: "notes.add", arguments: '{"text":"note 0"}' });
  assert.equal(result?.content, "noted");
  assert.deepEqual(agent.pendingInterrupts, []);
  assert.equal(events.at(-1)?.outcome.type, "success");
});

test("a call that is denied has that as its result", async (t) => {
  const { agent } = openAgent(t, openChannel());
  say(agent, "Note it.", "q1");
  await agent.runAgent();

  await agent.runAgent({ resume: answers(agent, false) });

  assert.equal(agent.messages.at(-1)?.content, "Denied by alice: it was not called.");
});

test("an answer that was cancelled leaves the call to others", async (t) => {
  server.script = noting("anyone");
  const channel = openChannel();
  const { agent, events } = openAgent(t, channel);
  say(agent, "Note it.", "q1");
  await agent.runAgent();
  const resume = agent.pendingInterrupts.map(({ id }) => ({ interruptId: id, status: /** @type {const} */ ("cancelled") }));

  await agent.runAgent({ resume });

  assert.equal(calls[0]?.isPending, true);
  assert.equal(events.at(-1)?.outcome.type, "success");
});

test("who may not decide is not asked, and sees what was decided", async (t) => {
  const channel = openChannel();
  const { agent, events } = openAgent(t, channel);
  t.after(agent.watch());
  await eventually(() => agent.messages.length === 0);
  channel.post("bob", { text: "Note it." });
  await eventually(() => roles(agent).join() === "user,assistant" && !agent.isRunning);
  const outcomes = events.filter(({ type }) => type === "RUN_FINISHED").map(({ outcome }) => outcome.type);

  channel.decide("bob", calls[0]?.callId ?? "", { decision: "approve" });
  await eventually(() => roles(agent).join() === "user,assistant,tool" && !agent.isRunning);

  assert.ok(!outcomes.includes("interrupt"));
  await eventually(() => agent.messages[1]?.content === "I note it. It is done.");
});

test("a decision of the server's alone counts: an interrupt of somebody else's call is refused", async (t) => {
  server.script = noting("owner");
  const channel = openChannel();
  const { agent, events } = openAgent(t, channel, { userId: "bob" });
  say(agent, "Note it.", "q1");
  await agent.runAgent();

  const resume = [{ interruptId: calls[0]?.callId ?? "", status: /** @type {const} */ ("resolved"), payload: { approved: true } }];
  await agent.runAgent({ resume });

  assert.deepEqual([events.at(-1)?.type, events.at(-1)?.code], ["RUN_ERROR", "403"]);
  assert.equal(calls[0]?.isPending, true);
});

test("an answer that says nothing decides nothing", async (t) => {
  const { agent, events } = openAgent(t, openChannel());
  say(agent, "Note it.", "q1");
  await agent.runAgent();

  const resume = agent.pendingInterrupts.map(({ id }) => ({ interruptId: id, status: /** @type {const} */ ("resolved"), payload: "yes" }));
  await agent.runAgent({ resume });

  assert.deepEqual([events.at(-1)?.type, events.at(-1)?.code], ["RUN_ERROR", "bad-answer"]);
  assert.equal(calls[0]?.isPending, true);
});

test("who opens a room in which a call waits is asked by connectAgent", async (t) => {
  const channel = openChannel();
  channel.post("alice", { text: "Note it." });
  const { agent } = openAgent(t, channel);

  await agent.connectAgent();

  assert.equal(agent.pendingInterrupts[0]?.id, calls[0]?.callId);
  await agent.runAgent({ resume: answers(agent, true) });
  assert.equal(agent.messages[1]?.content, "I note it. It is done.");
});

test("deleted questions take the arguments and the results along", async (t) => {
  const channel = openChannel();
  const { agent } = openAgent(t, channel);
  say(agent, "Note it.", "q1");
  await agent.runAgent();
  await agent.runAgent({ resume: answers(agent, true) });
  t.after(agent.watch());

  channel.deleteMessage(1, userSender("alice"));

  await eventually(() => roles(agent).join() === "assistant,tool" && agent.messages[1]?.content === "");
  const [reply] = agent.messages;
  assert.ok(reply?.role === "assistant");
  assert.equal(reply.toolCalls?.[0]?.function.arguments, "{}");
});

const REPLIES = 200;
/** Replies of one room: AG-UI's client copies all messages with each event. */
const TOGETHER = 20;
const RULES = /** @type {const} */ (["none", "anyone", "requester", "owner"]);
const KINDS = /** @type {const} */ (["plain", "cut", "cancelled", "failed", "restarted"]);

test(`${REPLIES} replies with tools: the verifier has no complaint, and the agent holds what the log says`, async (t) => {
  const random = seededRandom(13);
  const pick = (/** @type {number} */ count) => Math.floor(random() * count);
  let channel = openChannel();
  let { agent, events } = openAgent(t, channel);
  let interrupts = 0;

  for (let number = 1; number <= REPLIES; number += 1) {
    if (number % TOGETHER === 0) {
      agent.close();
      channel = openChannel();
      ({ agent, events } = openAgent(t, channel));
    }
    const kind = KINDS[pick(KINDS.length)] ?? "plain";
    const rules = Array.from({ length: 1 + pick(3) }, () => RULES[pick(RULES.length)] ?? "none");
    const [approved, byBob, at] = [random() < 0.7, random() < 0.3, pick(4)];
    server.script = async (reply) => {
      for (const [step, rule] of rules.entries()) {
        if (step === at) await happen(kind, reply);
        if (random() < 0.7) reply.write(`step ${step} `);
        const call = reply.ask("notes.add", { text: `${number}.${step}` }, { approval: rule });
        if (byBob && rule === "anyone") setTimeout(() => decideIfPending("bob", call), pick(20));
        const decision = rule === "none" ? "approved" : await call.decision;
        if (random() < 0.3) await sleep(1);
        const outcome = /** @type {const} */ (["ok", "ok", "error", "unknown"])[pick(4)] ?? "ok";
        if (decision === "approved") call.finish(outcome, outcome === "unknown" ? undefined : `result ${step}`);
      }
      reply.write("end.");
      reply.finish();
    };
    say(agent, `question ${number}`, `q${number}`);

    await agent.runAgent({ runId: `run-${number}` });
    for (let turn = 1; agent.pendingInterrupts.length > 0; turn += 1) {
      interrupts += 1;
      await agent.runAgent({ runId: `run-${number}.${turn}`, resume: answers(agent, approved) });
    }

    await eventually(() => channel.replies.every(({ isOpen }) => !isOpen));
    const last = events.at(-1);
    const log = channel.log.at(-1);
    if (log?.type === "agent.failed") assert.equal(last?.type, "RUN_ERROR");
    else if (log?.data.finishReason !== "cancelled") {
      assert.equal(last?.outcome.type, "success");
      const reply = agent.messages.findLast(({ role }) => role === "assistant");
      assert.equal(reply?.content, log?.data.text);
      const asked = channel.log.filter(({ type, data }) => type === "tool.requested" && data.target === log?.data.replyTo);
      assert.ok(reply?.role === "assistant");
      assert.deepEqual(reply.toolCalls?.map(({ id }) => id), asked.map(({ data }) => data.callId));
      const results = agent.messages.slice(agent.messages.indexOf(reply) + 1);
      assert.deepEqual(results.map(({ id }) => id), asked.map(({ data }) => `${data.callId}-result`));
    }
  }

  assert.ok(interrupts > REPLIES / 4, `${interrupts}`);

  /** @param {string} userId @param {FakeCall} call */
  function decideIfPending(userId, call) {
    if (call.isPending && call.reply.isOpen) call.decide(userId, { decision: "approve" });
  }

  /**
   * @param {typeof KINDS[number]} kind
   * @param {FakeReply} reply
   */
  async function happen(kind, reply) {
    if (kind === "cut") server.cut();
    if (kind === "failed") reply.fail("model_error");
    if (kind === "restarted") reply.restart("anew ");
    if (kind === "cancelled") reply.cancel(userSender("alice"));
  }
});
