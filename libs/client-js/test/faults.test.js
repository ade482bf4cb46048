import assert from "node:assert/strict";
import { test } from "node:test";
import { setTimeout as sleep } from "node:timers/promises";

import { FakeServer } from "./support/fake-server.js";
import { Proxy } from "./support/proxy.js";
import { seededRandom } from "./support/random.js";
import { openSession } from "./support/sessions.js";
import { take } from "./support/waiting.js";

const EVENTS = 1_000;
const CUTS = 50;

for (const seed of [1, 2, 3]) {
  test(`over a network that cuts, delays, doubles and reorders, each event comes once and in order (seed ${seed})`, async (t) => {
    const server = await FakeServer.start();
    const proxy = await Proxy.start(server.websocketUrl, seed);
    t.after(() => server.stop());
    t.after(() => proxy.stop());
    const channel = server.createChannel();
    const options = { ...server.optionsOf(), websocketUrl: proxy.url };
    const session = openSession(t, { ...options, random: seededRandom(seed) });
    await session.subscribe(channel.channelId, { after: 0 });
    proxy.faults = { duplicate: 0.2, reorder: 0.2, delay: 5 };

    const received = take(session.events(channel.channelId), EVENTS);
    for (let number = 1; number <= EVENTS; number += 1) {
      if (number % 7 === 0) channel.lostPushes.add(number);
      channel.post("bob", { text: `message ${number}` });
      if (number % 5 === 0) await sleep(1);
      if (number % (EVENTS / CUTS) === 0) {
        await session.connect();
        proxy.cut();
      }
    }

    const events = await received;
    assert.deepEqual(events.map(({ seq }) => seq), Array.from({ length: EVENTS }, (_, index) => index + 1));
    assert.ok(proxy.cuts >= CUTS, `${proxy.cuts} cuts`);
  });
}

test("over the same network each message that is sent is posted once, in order", async (t) => {
  const server = await FakeServer.start();
  const proxy = await Proxy.start(server.websocketUrl, 4);
  t.after(() => server.stop());
  t.after(() => proxy.stop());
  const channel = server.createChannel();
  const session = openSession(t, { ...server.optionsOf(), websocketUrl: proxy.url });
  await session.subscribe(channel.channelId, { after: 0 });
  proxy.faults = { cut: 0.05, duplicate: 0.2, reorder: 0.2, delay: 3 };

  const texts = Array.from({ length: 200 }, (_, index) => `text ${index}`);
  const seqs = await Promise.all(texts.map((text) => session.send(channel.channelId, text)));

  assert.deepEqual(channel.log.map(({ data }) => data.text), texts);
  assert.deepEqual(seqs, texts.map((_, index) => index + 1));
});
