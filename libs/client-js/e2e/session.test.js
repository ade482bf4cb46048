import assert from "node:assert/strict";
import { test } from "node:test";

import { Proxy } from "../test/support/proxy.js";
import { openSession } from "../test/support/sessions.js";
import { collect, take } from "../test/support/waiting.js";
import { createChannel, optionsOf, restOf, websocketUrl } from "./stack.js";

const EVENTS = Number(process.env.CHAT_FAULT_EVENTS ?? 200);
const CUTS = EVENTS / 20;

test("a message that is sent comes back as an event, and others see who is there", async (t) => {
  const channelId = await createChannel("off");
  const alice = openSession(t, optionsOf("alice"));
  const bob = openSession(t, optionsOf("bob"));
  await alice.subscribe(channelId, { after: 0 });
  const presence = alice.presenceUpdates(channelId);
  const typing = alice.typingUpdates(channelId);

  await bob.subscribe(channelId, { after: 0 });
  bob.typing(channelId);
  const seq = await bob.send(channelId, "Hello from JavaScript 👋");

  const [event] = await take(alice.events(channelId), 1);
  assert.deepEqual([event?.seq, event?.data.text], [seq, "Hello from JavaScript 👋"]);
  for await (const { userId, online } of presence) if (userId === "bob" && online) break;
  assert.equal((await typing.next()).value?.userId, "bob");
});

test("a text that fits no frame is posted", async (t) => {
  const channelId = await createChannel("off");
  const session = openSession(t, optionsOf("alice"));
  await session.subscribe(channelId, { after: 0 });

  const text = "€".repeat(12_000);
  await session.send(channelId, text);

  assert.equal((await take(session.events(channelId), 1))[0]?.data.text, text);
});

test("the stream ends when the user is removed", async (t) => {
  const channelId = await createChannel("off");
  const session = openSession(t, optionsOf("bob"));
  await session.subscribe(channelId, { after: 0 });
  const events = collect(session.events(channelId));

  await restOf("alice").removeMember(channelId, "bob");

  await events;
});

test(`over a network that cuts ${CUTS} times, delays, doubles and reorders, ${EVENTS} events come once and in order`, async (t) => {
  const proxy = await Proxy.start(websocketUrl, 7);
  t.after(() => proxy.stop());
  const channelId = await createChannel("off");
  const session = openSession(t, { ...optionsOf("alice"), websocketUrl: proxy.url });
  await session.subscribe(channelId, { after: 0 });
  proxy.faults = { duplicate: 0.1, reorder: 0.1, delay: 20 };
  const writer = openSession(t, optionsOf("bob"));

  const received = take(session.events(channelId), EVENTS);
  for (let number = 1; number <= EVENTS; number += 1) {
    await writer.send(channelId, `message ${number}`);
    if (number % (EVENTS / CUTS) === 0) {
      await session.connect();
      proxy.cut();
    }
  }

  const events = await received;
  assert.deepEqual(events.map(({ seq }) => seq), Array.from({ length: EVENTS }, (_, index) => index + 1));
  assert.deepEqual(events.map(({ data }) => data.text), events.map(({ seq }) => `message ${seq}`));
  assert.ok(proxy.cuts >= CUTS);
});
