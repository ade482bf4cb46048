import assert from "node:assert/strict";
import { afterEach, beforeEach, test } from "node:test";
import { setTimeout as sleep } from "node:timers/promises";

import { ChatError } from "../src/session.js";
import { MOST_QUEUED_DELTAS, MOST_QUEUED_EVENTS } from "../src/streams.js";
import { FakeServer } from "./support/fake-server.js";
import { userSender } from "./support/fake-channel.js";
import { openSession } from "./support/sessions.js";
import { tokenOf } from "./support/tokens.js";
import { collect, eventually, take } from "./support/waiting.js";

/** @import { Notice } from "../src/channel.js" */
/** @import { ConnectionState } from "../src/link.js" */

/** @type {FakeServer} */
let server;

beforeEach(async () => {
  server = await FakeServer.start();
});
afterEach(() => server.stop());

/** @param {{seq: number}[]} items */
const seqs = (items) => items.map(({ seq }) => seq);

/** @param {number} count */
function numbers(count, first = 1) {
  return Array.from({ length: count }, (_, index) => first + index);
}

test("a message that is sent comes back as an event", async (t) => {
  const { channelId } = server.createChannel();
  const session = openSession(t, server.optionsOf());
  await session.subscribe(channelId, { after: 0 });

  const seq = await session.send(channelId, "hello", { clientMessageId: "m1" });
  const [event] = await take(session.events(channelId), 1);

  assert.equal(seq, 1);
  assert.equal(event?.data.text, "hello");
  assert.equal(event?.clientMessageId, "m1");
});

test("with after, the past comes first", async (t) => {
  const channel = server.createChannel();
  for (const number of numbers(5)) channel.post("bob", { text: `${number}` });
  const session = openSession(t, server.optionsOf());

  await session.subscribe(channel.channelId, { after: 2 });
  channel.post("bob", { text: "6" });

  assert.deepEqual(seqs(await take(session.events(channel.channelId), 4)), [3, 4, 5, 6]);
});

test("without after, what is past does not come, and nothing after it is missed", async (t) => {
  const channel = server.createChannel();
  channel.post("bob", { text: "past" });
  const session = openSession(t, server.optionsOf());

  await session.subscribe(channel.channelId);
  channel.lostPushes.add(2);
  channel.post("bob", { text: "lost" });
  channel.post("bob", { text: "seen" });

  assert.deepEqual(seqs(await take(session.events(channel.channelId), 2)), [2, 3]);
});

test("a past of more than one replay is read on", async (t) => {
  const channel = server.createChannel();
  for (const number of numbers(1_250)) channel.post("bob", { text: `${number}` });
  const session = openSession(t, server.optionsOf());

  await session.subscribe(channel.channelId, { after: 0 });

  assert.deepEqual(seqs(await take(session.events(channel.channelId), 1_250)), numbers(1_250));
});

test("a gap is asked for once", async (t) => {
  const channel = server.createChannel();
  const session = openSession(t, { ...server.optionsOf(), timing: { pingInterval: 60_000 } });
  await session.subscribe(channel.channelId, { after: 0 });
  channel.lostPushes.add(2);

  for (const number of numbers(6)) channel.post("bob", { text: `${number}` });

  assert.deepEqual(seqs(await take(session.events(channel.channelId), 6)), numbers(6));
  assert.equal(server.count("ws sync"), 1);
});

test("a push that got lost without a successor is noticed by ping", async (t) => {
  const channel = server.createChannel();
  const session = openSession(t, server.optionsOf());
  await session.subscribe(channel.channelId, { after: 0 });
  channel.lostPushes.add(1);

  channel.post("bob", { text: "lost" });

  assert.deepEqual(seqs(await take(session.events(channel.channelId), 1)), [1]);
});

test("a subscription that the server forgot is made again", async (t) => {
  const channel = server.createChannel();
  const session = openSession(t, server.optionsOf());
  await session.subscribe(channel.channelId, { after: 0 });

  for (const connection of server.connections) {
    connection.channels.clear();
    channel.connections.clear();
  }
  channel.post("bob", { text: "unheard" });

  assert.deepEqual(seqs(await take(session.events(channel.channelId), 1)), [1]);
});

test("after a cut the session comes back with a new ticket and misses nothing", async (t) => {
  const channel = server.createChannel();
  const session = openSession(t, server.optionsOf());
  await session.subscribe(channel.channelId, { after: 0 });
  channel.post("bob", { text: "before" });

  server.cut();
  channel.post("bob", { text: "meanwhile" });

  assert.deepEqual(seqs(await take(session.events(channel.channelId), 2)), [1, 2]);
  assert.equal(server.count("POST /v1/tickets"), 2);
});

test("a send outlives a cut and is posted once", async (t) => {
  const channel = server.createChannel();
  const session = openSession(t, { ...server.optionsOf(), timing: { requestTimeout: 100 } });
  await session.connect();
  server.deafTo.add("sendmessage");

  const sent = session.send(channel.channelId, "persistent");
  await eventually(() => server.count("ws sendmessage") >= 1);
  server.deafTo.clear();

  assert.equal(await sent, 1);
  assert.equal(channel.lastSeq, 1);
});

test("messages are posted in the order of the calls", async (t) => {
  const channel = server.createChannel();
  const session = openSession(t, server.optionsOf());

  const texts = numbers(20).map(String);
  await Promise.all(texts.map((text) => session.send(channel.channelId, text)));

  assert.deepEqual(channel.log.map(({ data }) => data.text), texts);
});

test("the same clientMessageId again is the same message", async (t) => {
  const { channelId } = server.createChannel();
  const session = openSession(t, server.optionsOf());

  const first = await session.send(channelId, "once", { clientMessageId: "m1" });

  assert.equal(await session.send(channelId, "once", { clientMessageId: "m1" }), first);
});

test("a send that is throttled is repeated, one that is refused is not", async (t) => {
  const { channelId } = server.createChannel();
  const session = openSession(t, server.optionsOf());
  server.refuse("ws sendmessage", 429, 503, 422);

  await assert.rejects(session.send(channelId, "refused"), { name: "ChatError", status: 422 });
  assert.equal(await session.send(channelId, "next"), 1);
});

test("a text that fits no frame goes by REST", async (t) => {
  const { channelId } = server.createChannel();
  const session = openSession(t, server.optionsOf());

  const seq = await session.send(channelId, "€".repeat(11_000));

  assert.equal(seq, 1);
  assert.equal(server.count("ws sendmessage"), 0);
  assert.equal(server.count(`POST /v1/channels/${channelId}/messages`), 1);
});

test("a send can be given up", async (t) => {
  const { channelId } = server.createChannel();
  const session = openSession(t, server.optionsOf());
  await session.connect();
  server.deafTo.add("sendmessage");
  const abort = new AbortController();

  const sent = session.send(channelId, "never mind", { signal: abort.signal });
  abort.abort();

  await assert.rejects(sent, { name: "AbortError" });
});

test("a channel that is none of the user's is refused", async (t) => {
  const { channelId } = server.createChannel({ owner: "bob", members: [] });
  const session = openSession(t, server.optionsOf());

  await assert.rejects(session.subscribe(channelId), { name: "ChatError", status: 404 });
  assert.throws(() => session.events(channelId), { code: "not-subscribed" });
});

test("the stream ends when the user is removed", async (t) => {
  const channel = server.createChannel({ owner: "bob", members: ["alice"] });
  const session = openSession(t, server.optionsOf());
  await session.subscribe(channel.channelId, { after: 0 });

  channel.removeMember("alice");

  assert.deepEqual(seqs(await collect(session.events(channel.channelId))), [1]);
});

test("the stream ends when the user was removed while the connection was lost", async (t) => {
  const channel = server.createChannel({ owner: "bob", members: ["alice"] });
  const session = openSession(t, server.optionsOf());
  await session.subscribe(channel.channelId, { after: 0 });

  server.cut();
  channel.removeMember("alice");

  assert.deepEqual(await collect(session.events(channel.channelId)), []);
});

test("the stream ends with channel.deleted", async (t) => {
  const channel = server.createChannel();
  const session = openSession(t, server.optionsOf());
  await session.subscribe(channel.channelId, { after: 0 });

  channel.delete();

  const events = await collect(session.events(channel.channelId));
  assert.deepEqual(events.map(({ type }) => type), ["channel.deleted"]);
});

test("unsubscribe ends the streams, and one may subscribe again", async (t) => {
  const channel = server.createChannel();
  const session = openSession(t, server.optionsOf());
  await session.subscribe(channel.channelId, { after: 0 });
  const events = session.events(channel.channelId);
  const waiting = events.next();

  const unsubscribed = session.unsubscribe(channel.channelId);
  await session.subscribe(channel.channelId, { after: 0 });
  await unsubscribed;
  channel.post("bob", { text: "again" });

  assert.equal((await waiting).done, true);
  assert.deepEqual(seqs(await take(session.events(channel.channelId), 1)), [1]);
});

test("close ends the streams, and rejects what waits", async (t) => {
  const { channelId } = server.createChannel();
  const session = openSession(t, server.optionsOf());
  await session.subscribe(channelId, { after: 0 });
  server.deafTo.add("sendmessage");
  const sent = session.send(channelId, "too late");
  const waiting = session.events(channelId).next();

  session.close();

  assert.equal((await waiting).done, true);
  await assert.rejects(sent, { code: "closed" });
  await assert.rejects(session.send(channelId, "closed"), { code: "closed" });
  assert.equal(session.state.status, "closed");
});

test("event types that nobody knows are passed through", async (t) => {
  const channel = server.createChannel();
  const session = openSession(t, server.optionsOf());
  await session.subscribe(channel.channelId, { after: 0 });

  channel.append("poll.opened", userSender("bob"), { question: "tea?" });

  const [event] = await take(session.events(channel.channelId), 1);
  assert.equal(event?.type, "poll.opened");
  assert.equal(event?.data.question, "tea?");
});

test("frames that nobody knows are passed through, and broken ones are skipped", async (t) => {
  const { channelId, connections } = server.createChannel();
  /** @type {unknown[]} */
  const frames = [];
  const session = openSession(t, { ...server.optionsOf(), onFrame: ({ type }) => frames.push(type) });
  await session.subscribe(channelId);

  for (const connection of connections) {
    for (const frame of ["", "null", "[1]", "{broken"]) connection.send(frame);
    connection.send({ type: "weather", channelId });
  }
  await eventually(() => frames.length > 0);

  assert.deepEqual(frames, ["weather"]);
});

test("what the gateway itself answers fails the request, and it is repeated", async (t) => {
  const channel = server.createChannel();
  const session = openSession(t, server.optionsOf());
  await session.connect();
  server.deafTo.add("sendmessage");
  const sent = session.send(channel.channelId, "text");
  await eventually(() => server.count("ws sendmessage") === 1);

  server.deafTo.clear();
  for (const connection of server.connections) {
    connection.send({ message: "Internal server error", connectionId: "x", requestId: "y" });
  }

  assert.equal(await sent, 1);
  assert.equal(server.count("POST /v1/tickets"), 1);
});

test("a reply is seen as it is written, and its pieces are its text", async (t) => {
  const channel = server.createChannel({ agent: { mode: "always" } });
  const session = openSession(t, server.optionsOf());
  await session.subscribe(channel.channelId, { after: 0 });

  await session.send(channel.channelId, "question");
  const [, reply] = await take(session.events(channel.channelId), 2);
  const deltas = await take(session.deltas(channel.channelId), 3);

  assert.equal(deltas.map(({ text }) => text).join(""), reply?.data.text);
});

test("whoever subscribes in the middle of a reply gets what is written so far", async (t) => {
  const channel = server.createChannel({ agent: { mode: "always" } });
  server.script = async (reply) => {
    for (const word of ["one ", "two "]) reply.write(word);
  };
  channel.post("bob", { text: "question" });
  const session = openSession(t, server.optionsOf());

  await session.subscribe(channel.channelId, { after: 0 });
  const [snapshot] = await take(session.deltas(channel.channelId), 1);

  assert.equal(snapshot?.text, "one two ");
  assert.equal(snapshot?.snapshot, true);
});

test("a reader of deltas who comes late gets the open replies whole", async (t) => {
  const channel = server.createChannel({ agent: { mode: "always" } });
  server.script = async (reply) => reply.write("first");
  const session = openSession(t, server.optionsOf());
  await session.subscribe(channel.channelId, { after: 0 });
  await take(session.deltas(channel.channelId), 0);
  const early = session.deltas(channel.channelId);
  channel.post("bob", { text: "question" });
  await early.next();

  const [late] = await take(session.deltas(channel.channelId), 1);

  assert.deepEqual([late?.text, late?.snapshot], ["first", true]);
});

test("others' typing, presence and read marks are told", async (t) => {
  const { channelId } = server.createChannel();
  const alice = openSession(t, server.optionsOf("alice"));
  const bob = openSession(t, server.optionsOf("bob"));
  await alice.subscribe(channelId);
  const presence = alice.presenceUpdates(channelId);
  const typing = alice.typingUpdates(channelId);
  const reads = alice.readUpdates(channelId);

  await bob.subscribe(channelId);
  bob.typing(channelId);
  await bob.send(channelId, "hello");
  await bob.markRead(channelId, 1);

  assert.deepEqual((await presence.next()).value, { type: "presence", channelId, userId: "bob", online: true });
  assert.deepEqual((await typing.next()).value, { type: "typing", channelId, userId: "bob", typing: true });
  assert.deepEqual((await reads.next()).value, { type: "read", channelId, userId: "bob", seq: 1 });
  assert.deepEqual(alice.online(channelId), new Set(["alice", "bob"]));
});

test("typing is sent when it is news", async (t) => {
  const { channelId } = server.createChannel();
  const session = openSession(t, server.optionsOf());
  await session.subscribe(channelId);

  for (const typing of [false, true, true, true, false, false]) session.typing(channelId, typing);
  await session.send(channelId, "done");

  assert.equal(server.count("ws typing"), 2);
});

test("marks that are asked for at once are few frames, and the farthest counts", async (t) => {
  const channel = server.createChannel();
  for (const number of numbers(50)) channel.post("bob", { text: `${number}` });
  const session = openSession(t, server.optionsOf());
  await session.connect();

  await Promise.all(numbers(50).map((seq) => session.markRead(channel.channelId, seq)));

  assert.equal(channel.readSeqs.get("alice"), 50);
  assert.ok(server.count("ws read") <= 2);
});

test("cancel ends a reply", async (t) => {
  const channel = server.createChannel({ agent: { mode: "always" } });
  server.script = async (reply) => reply.write("endless");
  const session = openSession(t, server.optionsOf());
  await session.subscribe(channel.channelId, { after: 0 });
  await session.send(channel.channelId, "question");

  await session.cancel(channel.channelId);

  const [, reply] = await take(session.events(channel.channelId), 2);
  assert.equal(reply?.data.finishReason, "cancelled");
});

test("the state says what happens, and when the next attempt is", async (t) => {
  /** @type {ConnectionState[]} */
  const states = [];
  const session = openSession(t, { ...server.optionsOf(), onState: (state) => states.push(state) });
  await session.connect();
  server.refuseHandshakes = true;
  server.cut();
  await eventually(() => states.filter(({ status }) => status === "reconnecting").length >= 3);
  server.refuseHandshakes = false;
  await session.connect();

  const statuses = states.map(({ status }) => status);
  assert.deepEqual(statuses.slice(0, 4), ["connecting", "open", "reconnecting", "connecting"]);
  const waiting = states.filter(({ status }) => status === "reconnecting");
  assert.ok(waiting.every(({ nextAttemptAt, error }) => Number(nextAttemptAt) > 0 && error instanceof Error));
  assert.deepEqual(waiting.slice(0, 3).map(({ attempt }) => attempt), [1, 2, 3]);
});

test("a connection that does not answer counts as lost", async (t) => {
  const channel = server.createChannel();
  const session = openSession(t, { ...server.optionsOf(), timing: { requestTimeout: 100 } });
  await session.subscribe(channel.channelId, { after: 0 });
  server.deafTo.add("ping");
  await eventually(() => server.count("POST /v1/tickets") >= 2);
  server.deafTo.clear();

  channel.post("bob", { text: "still here" });

  assert.deepEqual(seqs(await take(session.events(channel.channelId), 1)), [1]);
});

test("wake tries at once", async (t) => {
  server.refuseHandshakes = true;
  const session = openSession(t, {
    ...server.optionsOf(),
    timing: { backoffBase: 3_600_000, backoffCap: 3_600_000 },
    random: () => 0.9,
  });
  const connected = session.connect();
  await eventually(() => session.state.status === "reconnecting");

  server.refuseHandshakes = false;
  session.wake();

  await connected;
});

test("a token that the server refuses ends the session with its reason", async (t) => {
  const { channelId } = server.createChannel();
  const session = openSession(t, { ...server.optionsOf(), token: "nonsense" });

  await assert.rejects(session.subscribe(channelId), { name: "ChatError", status: 401 });
  assert.equal(session.state.status, "closed");
  assert.ok(session.state.error instanceof ChatError);
});

test("a function that answers tokens is asked again when one is refused", async (t) => {
  const { channelId } = server.createChannel();
  /** @type {boolean[]} */
  const asked = [];
  const session = openSession(t, {
    ...server.optionsOf(),
    token: async ({ refresh }) => {
      asked.push(refresh);
      return refresh ? tokenOf("alice") : tokenOf("alice", { expiresIn: -10 });
    },
  });

  await session.subscribe(channelId);

  assert.deepEqual(asked, [false, true]);
});

test("the connection is authenticated anew before its token expires", async (t) => {
  const channel = server.createChannel();
  let lifetime = 2;
  const session = openSession(t, {
    ...server.optionsOf(),
    token: () => tokenOf("alice", { expiresIn: (lifetime += 3_600) - 3_600 }),
  });
  await session.subscribe(channel.channelId, { after: 0 });

  await eventually(() => server.count("ws authenticate") === 1);
  const [connection] = server.connections;

  assert.ok(Number(connection?.expiresAt) > Date.now() + 1_000_000);
  assert.equal(server.count("POST /v1/tickets"), 1);
});

test("a reader who does not read is told so, costs no memory, and misses nothing", async (t) => {
  const channel = server.createChannel();
  /** @type {Notice[]} */
  const notices = [];
  const session = openSession(t, { ...server.optionsOf(), onNotice: (notice) => notices.push(notice) });
  await session.subscribe(channel.channelId, { after: 0 });
  const events = session.events(channel.channelId);

  const count = MOST_QUEUED_EVENTS + 700;
  for (const number of numbers(count)) channel.post("bob", { text: `${number}` });
  await eventually(() => notices.length > 0);
  assert.deepEqual(notices.map(({ code, stream }) => [code, stream]), [["behind", "events"]]);

  assert.deepEqual(seqs(await take(events, count)), numbers(count));
});

test("a reader of deltas who does not read gets a snapshot instead", async (t) => {
  const channel = server.createChannel({ agent: { mode: "always" } });
  /** @type {Notice[]} */
  const notices = [];
  const session = openSession(t, { ...server.optionsOf(), onNotice: (notice) => notices.push(notice) });
  await session.subscribe(channel.channelId, { after: 0 });
  const deltas = session.deltas(channel.channelId);
  server.script = async (reply) => {
    for (const number of numbers(MOST_QUEUED_DELTAS + 10)) reply.write(`${number} `);
  };
  channel.post("bob", { text: "count" });
  await eventually(() => notices.length > 0);

  const [first] = await take(deltas, 1);

  assert.equal(first?.snapshot, true);
  assert.ok(first?.text.startsWith("1 2 3 "));
  assert.equal(notices[0]?.stream, "deltas");
});

test("whoever reads again goes on where he left", async (t) => {
  const channel = server.createChannel();
  const session = openSession(t, server.optionsOf());
  await session.subscribe(channel.channelId, { after: 0 });
  for (const number of numbers(4)) channel.post("bob", { text: `${number}` });

  const first = await take(session.events(channel.channelId), 2);
  const second = await take(session.events(channel.channelId), 2);

  assert.deepEqual([seqs(first), seqs(second)], [[1, 2], [3, 4]]);
});

test("readers side by side get all events each", async (t) => {
  const channel = server.createChannel();
  const session = openSession(t, server.optionsOf());
  await session.subscribe(channel.channelId, { after: 0 });
  const readers = [session.events(channel.channelId), session.events(channel.channelId)];

  for (const number of numbers(3)) channel.post("bob", { text: `${number}` });

  const read = await Promise.all(readers.map((reader) => take(reader, 3)));
  assert.deepEqual(read.map(seqs), [numbers(3), numbers(3)]);
});

test("leaving a loop from outside ends its wait", async (t) => {
  const { channelId } = server.createChannel();
  const session = openSession(t, server.optionsOf());
  await session.subscribe(channelId);
  const events = session.events(channelId);
  const waiting = events.next();

  await events.return?.();

  assert.equal((await waiting).done, true);
});

test("a listener is told everything in order, and one that throws disturbs nobody", async (t) => {
  const channel = server.createChannel({ agent: { mode: "always" } });
  const session = openSession(t, server.optionsOf());
  /** @type {string[]} */
  const told = [];
  /** @type {Error[]} */
  const uncaught = [];
  globalThis.reportError = (error) => void uncaught.push(error);
  t.after(() => Reflect.deleteProperty(globalThis, "reportError"));
  const subscribed = session.subscribe(channel.channelId, { after: 0 });
  session.listen(channel.channelId, {
    live() {
      throw new Error("the listener's own fault");
    },
  });
  session.listen(channel.channelId, {
    event: ({ type }) => told.push(type),
    delta: ({ text }) => told.push(text),
  });
  await subscribed;

  await session.send(channel.channelId, "question");
  await eventually(() => told.length >= 5);

  assert.deepEqual(told, ["message.created", "I ", "hear ", "you.", "message.created"]);
  assert.match(String(uncaught[0]?.message), /own fault/);
});

test("a session of fifty channels follows each of them over a cut", async (t) => {
  const channels = numbers(50).map(() => server.createChannel());
  const session = openSession(t, server.optionsOf());
  await Promise.all(channels.map(({ channelId }) => session.subscribe(channelId, { after: 0 })));

  server.cut();
  await sleep(1);
  for (const channel of channels) channel.post("bob", { text: "x" });

  for (const { channelId } of channels) {
    assert.deepEqual(seqs(await take(session.events(channelId), 1)), [1]);
  }
});

test("without a WebSocket the session says what is missing", { skip: "WebSocket" in globalThis }, async () => {
  const { ChatSession } = await import("../src/session.js");

  assert.throws(() => new ChatSession(server.optionsOf()), /pass the option webSocket/);
});
