import assert from "node:assert/strict";
import { test } from "node:test";

import { ChannelLog } from "../src/channel-log.js";
import { seededRandom } from "./support/random.js";

/** @import { ChatEvent } from "../src/wire.js" */

/** @param {number[]} seqs @returns {ChatEvent[]} */
function events(...seqs) {
  return seqs.map((seq) => ({
    channelId: "c",
    seq,
    type: "message.created",
    createdAt: "2026-01-01T00:00:00.000Z",
    sender: { id: "bob", kind: "user" },
    data: { text: `text ${seq}` },
  }));
}

/** @param {ChatEvent[]} received */
const seqs = (received) => received.map(({ seq }) => seq);

test("events in order are delivered as they come", () => {
  const log = new ChannelLog({ after: 3 });

  assert.deepEqual(seqs(log.receive(events(4, 5))), [4, 5]);
  assert.equal(log.hasGap, false);
});

test("repeats are dropped, those from before the beginning too", () => {
  const log = new ChannelLog({ after: 3 });
  log.receive(events(4, 5));

  assert.deepEqual(seqs(log.receive(events(2, 4, 5, 5, 6))), [6]);
});

test("an event past a gap waits for those before it", () => {
  const log = new ChannelLog({ after: 0 });

  assert.deepEqual(seqs(log.receive(events(1, 3, 4))), [1]);
  assert.equal(log.hasGap, true);
  assert.deepEqual(seqs(log.receive(events(2))), [2, 3, 4]);
  assert.equal(log.hasGap, false);
});

test("a head past the last event is a gap", () => {
  const log = new ChannelLog({ after: 5 });

  log.noteHead(6);

  assert.equal(log.hasGap, true);
  log.receive(events(6));
  assert.equal(log.hasGap, false);
});

test("no more events than the bound wait, and what was not kept stays a gap", () => {
  const log = new ChannelLog({ after: 0, mostHeld: 2 });

  log.receive(events(3, 4, 5));
  assert.equal(log.held, 2);
  assert.deepEqual(seqs(log.receive(events(1, 2))), [1, 2, 3, 4]);
  assert.equal(log.hasGap, true);
});

test("a full waiting room still lets the next event through", () => {
  const log = new ChannelLog({ after: 0, mostHeld: 1 });
  log.receive(events(5));

  assert.deepEqual(seqs(log.receive(events(1))), [1]);
});

for (let seed = 1; seed <= 50; seed += 1) {
  test(`whatever order events come in, each is delivered once and in order (seed ${seed})`, () => {
    const random = seededRandom(seed);
    const sent = Array.from({ length: 60 }, (_, index) => index + 1);
    const arrivals = [...sent, ...sent.filter(() => random() < 0.3)]
      .map((seq) => ({ seq, at: seq + random() * 10 }))
      .sort((one, other) => one.at - other.at);
    const log = new ChannelLog({ after: 0 });

    const delivered = arrivals.flatMap(({ seq }) => seqs(log.receive(events(seq))));

    assert.deepEqual(delivered, sent);
  });
}
