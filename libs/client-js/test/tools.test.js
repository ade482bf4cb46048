import assert from "node:assert/strict";
import { readFile } from "node:fs/promises";
import { afterEach, beforeEach, test } from "node:test";

import { argumentsDigest } from "../src/session.js";
import { FakeServer } from "./support/fake-server.js";
import { openSession } from "./support/sessions.js";
import { eventually, take } from "./support/waiting.js";

/** @import { FakeCall } from "./support/fake-call.js" */

/** @type {FakeServer} */
let server;

beforeEach(async () => {
  server = await FakeServer.start();
});
afterEach(() => server.stop());

/** A room whose agent asks for one call. */
function askingRoom(options = {}) {
  /** @type {FakeCall[]} */
  const calls = [];
  server.script = async (reply) => {
    const call = reply.ask("notes.add", { text: "milk" }, options);
    calls.push(call);
    if ((await call.decision) === "approved") call.finish("ok", "added");
    reply.finish();
  };
  const channel = server.createChannel({ agent: { mode: "always" } });
  channel.post("bob", { text: "Note: milk" });
  return { channel, call: /** @type {FakeCall} */ (calls[0]) };
}

const vectors = JSON.parse(await readFile(new URL("support/digests.json", import.meta.url), "utf8"));

for (const { arguments: shown, digest } of vectors) {
  test(`the digest of ${JSON.stringify(shown).slice(0, 40)} is the server's`, async () => {
    assert.equal(await argumentsDigest(shown), digest);
  });
}

test("requests, decisions and results come as events", async (t) => {
  const { channel, call } = askingRoom();
  const session = openSession(t, server.optionsOf("alice"));
  await session.subscribe(channel.channelId, { after: 0 });

  await openSession(t, server.optionsOf("bob")).decideTool(channel.channelId, call.callId, "approve");

  const events = await take(session.events(channel.channelId), 5);
  assert.deepEqual(
    events.map(({ type }) => type),
    ["message.created", "tool.requested", "tool.decided", "tool.finished", "message.created"],
  );
  assert.deepEqual(events[1]?.data.arguments, { text: "milk" });
  assert.equal(events[2]?.sender.id, "bob");
});

test("a decision answers the event that stands, again too", async (t) => {
  const { channel, call } = askingRoom();
  const session = openSession(t, server.optionsOf("bob"));
  const shown = { arguments: { text: "milk" } };

  const first = await session.decideTool(channel.channelId, call.callId, "approve", shown);
  const again = await session.decideTool(channel.channelId, call.callId, "approve", shown);

  assert.equal(first.data.decision, "approved");
  assert.deepEqual(again, first);
});

test("what was shown is what is decided about", async (t) => {
  const { channel, call } = askingRoom();
  const session = openSession(t, server.optionsOf("bob"));
  const shown = { arguments: { text: "bread" } };

  await assert.rejects(session.decideTool(channel.channelId, call.callId, "approve", shown), { status: 409 });

  assert.ok(call.isPending);
});

test("a decision is repeated when its answer gets lost", async (t) => {
  const { channel, call } = askingRoom();
  const session = openSession(t, server.optionsOf("bob"));
  server.refuse(`POST /v1/channels/${channel.channelId}/tools/${call.callId}/decision`, 503);

  const event = await session.decideTool(channel.channelId, call.callId, "deny");

  assert.equal(event.data.decision, "denied");
});

test("who decides too late is told who decided what", async (t) => {
  const { channel, call } = askingRoom({ approval: "anyone" });
  await openSession(t, server.optionsOf("bob")).decideTool(channel.channelId, call.callId, "deny");
  const session = openSession(t, server.optionsOf("alice"));

  const late = session.decideTool(channel.channelId, call.callId, "approve");

  await assert.rejects(late, ({ problem }) => {
    assert.deepEqual([problem.decision, problem.decidedBy], ["denied", "bob"]);
    return true;
  });
});

test("who has not the right is refused", async (t) => {
  const { channel, call } = askingRoom({ approval: "requester" });
  const session = openSession(t, server.optionsOf("alice"));

  await assert.rejects(session.decideTool(channel.channelId, call.callId, "approve"), { status: 403 });

  await eventually(() => call.isPending);
});

test("the tools that are offered are listed", async (t) => {
  const tool = { name: "clock.now", inputSchema: {}, approval: /** @type {const} */ ("none"), readOnly: true, idempotent: true };
  server.tools = [tool];
  const session = openSession(t, server.optionsOf());

  assert.deepEqual(await session.listTools(), [tool]);
});
